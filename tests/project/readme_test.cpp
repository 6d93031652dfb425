// SPDX-License-Identifier: Apache-2.0
// The README: what it quotes is what is compiled, its manifest is valid, its links lead somewhere.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include "support/sessions.hpp"

namespace {

const std::filesystem::path root = ONEBIT_SOURCE_DIR;

std::string read(const std::filesystem::path& file) {
  std::ifstream in(file);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The text between the first ```language and the next ```.
std::string block(const std::string& text, const std::string& language) {
  const std::string fence = "```" + language + "\n";
  const size_t begin = text.find(fence);
  REQUIRE(begin != std::string::npos);
  const size_t from = begin + fence.size();
  return text.substr(from, text.find("```", from) - from);
}

// What stands between the marks, part by part.
std::string marked(const std::string& source) {
  const std::string mark = "// [embed]\n";
  std::string parts;
  for (size_t at = source.find(mark); at != std::string::npos; at = source.find(mark, at)) {
    const size_t begin = at + mark.size(), end = source.find(mark, begin);
    REQUIRE(end != std::string::npos);
    parts += (parts.empty() ? "" : "\n") + source.substr(begin, end - begin);
    at = end + mark.size();
  }
  return parts;
}

}  // namespace

TEST_CASE("the README quotes the embedding that is compiled and run") {
  CHECK(block(read(root / "README.md"), "cpp") == marked(read(root / "tests/host/libtorch/embed_test.cpp")));
}

TEST_CASE("the README's manifest is valid") { CHECK_NOTHROW(onebit::test::configure(block(read(root / "README.md"), "toml"))); }

TEST_CASE("the README's links into the repository lead somewhere") {
  const std::string text = read(root / "README.md");
  const std::regex link(R"(\]\(([^)#][^)]*)\))");
  int found = 0;
  for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it) {
    const std::string target = (*it)[1];
    if (target.find("://") != std::string::npos) continue;
    ++found;
    CAPTURE(target);
    CHECK(std::filesystem::exists(root / target));
  }
  CHECK(found > 5);
}
