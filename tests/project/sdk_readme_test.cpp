// SPDX-License-Identifier: Apache-2.0
// The author's guide, sdk/README.md: every block of code in it is compiled, and what is a plugin keeps the contract; its
// commands are run, its manifests read, and its catalogue quotes what the core says.
#include <doctest/doctest.h>

#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "source_tree.hpp"
#include "support/conformance.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::test::ConformanceResult;
using onebit::test::Outcome;
using onebit::test::root;
using onebit::test::run_conformance;
using onebit::test::run_shell;

const std::string& guide() {
  static const std::string text = contents_of(root / "sdk/README.md");
  return text;
}

std::vector<std::string> blocks(const std::string& language) {
  const std::string fence = "```" + language + "\n";
  std::vector<std::string> found;
  for (size_t at = guide().find(fence); at != std::string::npos; at = guide().find(fence, at)) {
    at += fence.size();
    found.push_back(guide().substr(at, guide().find("\n```", at) + 1 - at));
  }
  return found;
}
std::string block_with(const std::string& language, const std::string& part) {
  for (const std::string& block : blocks(language))
    if (block.find(part) != std::string::npos) return block;
  FAIL("no block of ", language, " has ", part);
  return {};
}

// PLUGIN of the first ONEBIT_PLUGIN("PLUGIN", ...); "" where there is none.
std::string plugin_name(const std::string& source) {
  std::smatch found;
  return std::regex_search(source, found, std::regex(R"re(ONEBIT_PLUGIN\("(\w+)")re")) ? found[1].str() : "";
}

// The guide's own command line, for the headers of this tree: those that are installed are package_test's.
fs::path build(const ScratchFolder& scratch, const std::string& source) {
  std::string line = block_with("sh", "pkg-config");
  line.replace(line.find("g++"), 3, "'" ONEBIT_CXX_COMPILER "' -Wall -Wextra -Werror");
  line.replace(line.find("my_plugin"), 9, plugin_name(source));
  scratch.file("plugin.cpp", source);
  fs::permissions(
      scratch.file("pkg-config", "#!/bin/sh\ncase \"$*\" in '--cflags onebit-sdk') echo -I'" + (root / "sdk/include").string() +
                                     "' ;; '--variable=version_script onebit-sdk') echo '" +
                                     (root / "sdk/cmake/plugin.map").string() + "' ;; *) exit 1 ;; esac\n"),
      fs::perms::owner_all);
  const Outcome built = run_shell("cd '" + scratch.path().string() + "' && PATH=\"$PWD:$PATH\" && " + line);
  REQUIRE_MESSAGE(built.status == 0, built.text);
  return scratch / (plugin_name(source) + ".so");
}

const std::string plain = "plain_sgd";

}  // namespace

TEST_CASE("every plugin in the guide compiles, loads and conforms") {
  int plugins = 0;
  for (const std::string& source : blocks("cpp")) {
    if (plugin_name(source).empty()) continue;
    const ScratchFolder scratch;
    onebit::Registry registry;
    const onebit::PluginInfo& info = registry.load(build(scratch, source));
    const auto none = onebit::Manifest::parse("", "none", scratch.path());
    for (const ConformanceResult& result : run_conformance(registry, info, none)) {
      CAPTURE(result.component);
      CAPTURE(result.name);
      CHECK_MESSAGE(!result.failed, result.text);
    }
    ++plugins;
  }
  CHECK(plugins == 2);
}

TEST_CASE("the guide's other C++ compiles") {
  int sources = 0;
  for (const std::string& source : blocks("cpp")) {
    if (!plugin_name(source).empty()) continue;
    const ScratchFolder scratch;
    const std::string folders = " -I'" + (root / "sdk/include").string() + "' -I'" + (root / "core/include").string() + "'";
    const Outcome compiled =
        run_shell("'" ONEBIT_CXX_COMPILER "' -std=c++17 -Wall -Wextra -Werror -fsyntax-only -DPLUGIN_FILE='\"x.so\"'" +
                  folders + " '" + scratch.file("test.cpp", source).string() + "'");
    CHECK_MESSAGE(compiled.status == 0, compiled.text);
    ++sources;
  }
  CHECK(sources == 1);
}

TEST_CASE("the guide's manifest selects its plugin, and its pin refuses another file") {
  const ScratchFolder scratch;
  build(scratch, block_with("cpp", plain));
  const auto load = [&](const std::string& toml) {
    onebit::Registry registry;
    registry.load(onebit::Manifest::parse(toml, "guide.toml", scratch.path()));
    return registry.find(onebit::Kind::optimizer, plain).options.size();
  };
  CHECK(load(block_with("toml", "[optimizer]")) == 1);
  CHECK_THROWS_WITH_AS(load(block_with("toml", "sha256")), doctest::Contains("sha256"), onebit::Error);
}

TEST_CASE("the guide's CMake project builds its plugin") {
  const ScratchFolder scratch;
  scratch.file("plugin.cpp", block_with("cpp", plain));
  scratch.file("CMakeLists.txt", block_with("cmake", "onebit_add_plugin"));
  const Outcome built =
      run_shell("export CXX='" ONEBIT_CXX_COMPILER "' CMAKE_GENERATOR='" ONEBIT_GENERATOR "' onebit_DIR='" ONEBIT_BINARY_DIR
                "/cmake'; cd '" +
                scratch.path().string() + "' && '" ONEBIT_CMAKE "' -S . -B build && '" ONEBIT_CMAKE "' --build build");
  REQUIRE_MESSAGE(built.status == 0, built.text);
  onebit::Registry registry;
  CHECK(registry.load(scratch / "build/my_plugin.so").name == plain);
}

TEST_CASE("the guide's first commands work, from an empty folder") {
  std::string commands = block_with("sh", "onebit plugins new");
  if (!ONEBIT_WITH_TORCH) {
    std::puts("SKIPPED: the last of them: this build has no libtorch, so `onebit train` trains nothing");
    commands.erase(commands.find("onebit train"));
  }
  const ScratchFolder scratch;
  const Outcome outcome = run_shell("set -e; export CXX='" ONEBIT_CXX_COMPILER "' onebit_DIR='" ONEBIT_BINARY_DIR
                                    "/cmake' PATH='" ONEBIT_BINARY_DIR "/bin':\"$PATH\"; cd '" +
                                    scratch.path().string() + "'\n" + commands);
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
}

TEST_CASE("the guide's links lead somewhere") {
  const std::regex link(R"(\]\(([^)#][^)]*)\))");
  int found = 0;
  for (std::sregex_iterator it(guide().begin(), guide().end(), link), end; it != end; ++it, ++found) {
    const std::string target = (*it)[1];
    CAPTURE(target);
    CHECK(fs::exists(root / "sdk" / target));
  }
  CHECK(found > 5);
}

TEST_CASE("the guide's catalogue of errors quotes what the core says") {
  std::string said;
  for (const auto& file : fs::recursive_directory_iterator(root / "core"))
    if (file.path().extension() == ".cpp") said += contents_of(file.path());
  said = std::regex_replace(said, std::regex("\\\"\\s*\\n\\s*\\\""), "");  // literals that go on in the next line
  const std::string head = "| message | what to do |";
  const size_t from = guide().find(head), to = guide().find("\n\n", from);
  REQUIRE(from != std::string::npos);
  const std::string table = guide().substr(from, to - from);
  const std::regex row("\\n\\| `([^`]*)`");
  int rows = 0;
  for (std::sregex_iterator it(table.begin(), table.end(), row), end; it != end; ++it, ++rows) {
    std::string message = (*it)[1];
    const std::string gap = "…";
    for (size_t at = 0; at < message.size();) {
      const size_t next = std::min(message.find(gap, at), message.size());
      const std::string part =
          std::regex_replace(message.substr(at, next - at), std::regex("^ +| +$|onebit_plugin_entry_v1"), "");
      CHECK_MESSAGE(said.find(part) != std::string::npos, "the core does not say '", part, "'");
      at = next + (next == message.size() ? 0 : gap.size());
    }
  }
  CHECK(rows > 10);
}
