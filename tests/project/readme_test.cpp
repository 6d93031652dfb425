// SPDX-License-Identifier: Apache-2.0
// The README: what it quotes is compiled, the commands of each of its sections are run, it stays short; and the links in it and
// in the documents that have the rest lead somewhere.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "source_tree.hpp"
#include "support/mpirun.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::test::Outcome;
using onebit::test::root;
using onebit::test::run_shell;

const char* const kDocuments[] = {
    "README.md",         "plugins/algorithms.md", "plugins/nccl/gpus.md",      "core/semantics.md",
    "host/launching.md", "host/embedding.md",     "host/what-happens-when.md", "tests/slownet/results.md"};

std::string read(const fs::path& file) {
  REQUIRE(fs::exists(file));
  return contents_of(file);
}

// What stands below "## title", up to the next title of this kind.
std::string section(const std::string& title) {
  const std::string text = read(root / "README.md"), head = "\n## " + title + "\n";
  const size_t begin = text.find(head);
  REQUIRE_MESSAGE(begin != std::string::npos, title);
  return text.substr(begin, text.find("\n## ", begin + head.size()) - begin);
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

// Exactly one part of the text gives way to another.
void replace(std::string& text, const std::string& part, const std::string& by) {
  const size_t at = text.find(part);
  REQUIRE_MESSAGE(at != std::string::npos, part, " is not in ", text);
  text.replace(at, part.size(), by);
}

// Runs these lines in the folder, with this build's `onebit` in PATH. `a && b` is two lines here, for -e passes over a failing
// a.
Outcome run_in(const ScratchFolder& folder, const std::string& commands) {
  return run_shell("set -e; export CXX='" ONEBIT_CXX_COMPILER "' CMAKE_CXX_COMPILER_LAUNCHER='" ONEBIT_CXX_LAUNCHER
                   "' CMAKE_BUILD_TYPE=Debug CMAKE_GENERATOR='" ONEBIT_GENERATOR "' onebit_DIR='" ONEBIT_BINARY_DIR
                   "/cmake' PATH='" ONEBIT_BINARY_DIR "/bin':\"$PATH\"; cd '" +
                   folder.path().string() + "'\n" + std::regex_replace(commands, std::regex(" && "), "\n"));
}

// False, and says so, where `onebit train` can't train on images.
bool can_train() {
  const char* lacks = nullptr;
  if (ONEBIT_WITH_TORCH == 0)
    lacks = "this build has no libtorch, so `onebit train` trains nothing";
  else if (!fs::exists("/usr/share/datasets/fashion-mnist"))
    lacks = "there is no Fashion-MNIST, which Debian's dataset-fashion-mnist brings";
  if (lacks != nullptr) std::printf("SKIPPED: `onebit train`: %s\n", lacks);
  return lacks == nullptr;
}
void without_training(std::string& commands) { commands.erase(commands.find("onebit train")); }

// As GitHub makes it of a heading.
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char letter : heading) {
    const auto c = static_cast<unsigned char>(letter);
    if (letter == ' ' || letter == '-')
      anchor += '-';
    else if (std::isalnum(c) != 0 || letter == '_')
      anchor += static_cast<char>(std::tolower(c));
  }
  return anchor;
}
std::set<std::string> anchors_in(const fs::path& file) {
  std::set<std::string> anchors;
  const std::string text = contents_of(file);
  const std::regex heading("(^|\n)#+ ([^\n]*)");
  for (std::sregex_iterator it(text.begin(), text.end(), heading), end; it != end; ++it) anchors.insert(anchor_of((*it)[2]));
  return anchors;
}

}  // namespace

TEST_CASE("the README fits: 130 lines, 120 characters in a line of prose, 1,300 words") {
  const std::string text = read(root / "README.md");
  std::istringstream lines(text), words(text);
  int count = 0;
  bool code = false;
  for (std::string line; std::getline(lines, line); ++count) {
    const bool fence = line.rfind("```", 0) == 0, table = line.rfind('|', 0) == 0;
    if (fence) code = !code;
    if (fence || code || table) continue;
    const auto characters = std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });  // of UTF-8
    CHECK_MESSAGE(characters <= 120, line);
  }
  CHECK(count <= 130);
  CHECK(std::distance(std::istream_iterator<std::string>(words), {}) <= 1300);
}

TEST_CASE("the README's manifest is valid, and can be checked and trained with as it says") {
  const std::string manifest = block(section("Select"), "toml");
  CHECK_NOTHROW(onebit::test::configure(manifest));
  std::string commands = block(section("Select"), "sh");
  const bool trains = can_train();
  if (!trains) without_training(commands);
  const ScratchFolder folder;
  folder.file("my.toml", manifest);
  const Outcome outcome = run_in(folder, commands);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "my.toml: valid");
  if (!trains) return;
  CHECK(fs::exists(folder / "out/my/summary.json"));
  CHECK_MESSAGE(outcome.text.find("nothing was compressed") == std::string::npos, outcome.text);
}

TEST_CASE("the README quotes the embedding that is compiled and run") {
  CHECK(block(section("Embed"), "cpp") == marked(read(root / "tests/host/libtorch/embed_test.cpp")));
}

TEST_CASE("the README's way to a plugin works, from an empty folder") {
#ifdef ONEBIT_SANITIZED
  MESSAGE("SKIPPED: a sanitized core can't be linked to an author's test program");
  return;
#endif
  std::string commands = block(section("Write a plugin"), "sh");
  const bool trains = can_train();
  if (trains)
    replace(commands, "demo.toml", "demo.toml --set train.samples=2560 --set optimizer.freeze_step=10");
  else
    without_training(commands);
  const ScratchFolder folder;
  const Outcome outcome = run_in(folder, commands);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "100% tests passed");
  CHECK_SAYS(outcome, " 0 failed, ");
  if (trains) CHECK(fs::exists(folder / "my_codec/out/demo/summary.json"));
}

TEST_CASE("the README's loop for several machines trains, with this one in place of them, and goes on when it is run again") {
  if (!onebit::test::can_mpirun() || !can_train()) return;
  std::string command = block(section("Several machines"), "sh");
  replace(command, "mpirun -n 4 --host a:2,b:2 ", "timeout 120 env " + onebit::test::mpirun_command(4) + "--host localhost:4 ");
  replace(command, " --resume",
          " --resume --set train.samples=2560 --set train.epochs=1 --set optimizer.freeze_step=5 --set checkpoint.every=10");
  const ScratchFolder folder;
  fs::create_directory_symlink(root / "configs", folder / "configs");
  const Outcome outcome = run_in(folder, command);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "4 ranks");
  CHECK_SAYS(outcome, "communicator mpi");
  CHECK(fs::exists(folder / "out/restartable/summary.json"));
  CHECK_SAYS(run_in(folder, command), ": goes on after step 10");
}

// What is installed, and that it may be moved: package_test.
TEST_CASE("the README's installation has the command and the plugins, and CMake's names are those of the package") {
  const std::string install = section("Install");
  std::string commands = block(install, "sh");
  replace(commands, "build/release", "'" ONEBIT_BINARY_DIR "'");
  const ScratchFolder folder;
  const Outcome outcome = run_in(folder, commands);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  const std::string listed = outcome.text.substr(outcome.text.rfind("-- Installing: "));
  CHECK(listed.find((folder / "prefix/lib").string()) != std::string::npos);
  CHECK(listed.find("onebit_plugin_onebit_adam.so") != std::string::npos);
  CHECK_MESSAGE(listed.find(ONEBIT_BINARY_DIR) == std::string::npos, listed);

  const std::string package = read(root / "sdk/cmake/onebitConfig.cmake.in");
  const std::regex name("`(onebit(::|_)\\w+)");
  int names = 0;
  for (std::sregex_iterator it(install.begin(), install.end(), name), end; it != end; ++it, ++names)
    CHECK_MESSAGE(package.find((*it)[1]) != std::string::npos, (*it)[1].str());
  CHECK(names == 6);
}

TEST_CASE("the README's links and those of the documents that have the rest lead somewhere") {
  const std::regex link(R"(\]\(([^)#]*)(#([^)]*))?\))");
  for (const char* document : kDocuments) {
    CAPTURE(document);
    const std::string text = read(root / document);
    int found = 0;
    for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it) {
      const std::string target = (*it)[1], anchor = (*it)[3];
      if (target.find("://") != std::string::npos) continue;
      ++found;
      CAPTURE(target);
      CAPTURE(anchor);
      const fs::path file = target.empty() ? root / document : (root / document).parent_path() / target;
      CHECK(fs::exists(file));
      if (!anchor.empty()) CHECK(anchors_in(file).count(anchor) == 1);
    }
    CHECK(found > 2);
  }
}

TEST_CASE("the commands of ./dev that these documents name are there") {
  const std::string usage = run_shell("'" + (root / "dev").string() + "' help").text;
  const std::regex command("\\./dev ([a-z-]+)");
  std::set<std::string> named;
  for (const char* document : kDocuments) {
    const std::string text = read(root / document);
    for (std::sregex_iterator it(text.begin(), text.end(), command), end; it != end; ++it) named.insert((*it)[1]);
  }
  for (const std::string& name : named) CHECK_MESSAGE(usage.find("\n  " + name + " ") != std::string::npos, name);
  CHECK(named.size() > 5);
}
