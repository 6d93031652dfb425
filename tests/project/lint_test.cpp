// SPDX-License-Identifier: Apache-2.0
// The check of the rooms (tests/lint/arrows.py): it passes on this tree, and sees each kind of fault in one of its own.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

namespace onebit::test {
namespace {

namespace fs = std::filesystem;

// Debian's, for the active one may be older than the TOML reader that the script takes from the library.
const std::string kPython = fs::exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

bool can_check() {
  const bool can = run_shell(kPython + " -c 'import tomllib'").status == 0;
  if (!can) MESSAGE("SKIPPED: there is no python3 with tomllib (3.11 or later)");
  return can;
}

std::string arrows(const std::string& arguments) {
  return kPython + " '" ONEBIT_SOURCE_DIR "/tests/lint/arrows.py' " + arguments;
}

// Two rooms and the table that lets `above` include `below`.
class Tree {
 public:
  Tree() {
    write("core/below/below.hpp", "#pragma once\n");
    write("core/above/above.cpp", "#include \"below/below.hpp\"\n");
    write("core/below/README.md", "below\n");
    write("core/above/README.md", "above\n");
    table("[\"core/below\"]\nincludes = []\n[\"core/above\"]\nincludes = [\"core/below\"]\n");
  }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  void table(const std::string& text) const { write("rooms.toml", text); }
  Outcome check() const {
    return run_shell(arrows("'" + folder_.path().string() + "' '" + (folder_ / "rooms.toml").string() + "'"));
  }

 private:
  ScratchFolder folder_;
};

std::string lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "//\n";
  return text;
}

}  // namespace

TEST_CASE("lint: the rooms of this tree keep to their table") {
  if (!can_check()) return;
  const Outcome outcome = run_shell(arrows(""));
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
}

TEST_CASE("lint: an include that the table does not have is told with file and line") {
  if (!can_check()) return;
  const Tree tree;
  const Outcome before = tree.check();
  REQUIRE_MESSAGE(before.status == 0, before.text);
  tree.write("core/above/above.hpp", "#pragma once\n");
  tree.write("core/below/below.hpp", "#pragma once\n\n#include \"above/above.hpp\"\n");
  const Outcome after = tree.check();
  CHECK(after.status == 1);
  CHECK_SAYS(after, "core/below/below.hpp:3: core/below may not include core/above (above/above.hpp)");
}

TEST_CASE("lint: what else is wrong with rooms is told") {
  if (!can_check()) return;
  const std::string below = "[\"core/below\"]\nincludes = []\n", above = "[\"core/above\"]\nincludes = [\"core/below\"]\n";
  const auto told = [](const auto& change) {
    const Tree tree;
    change(tree);
    const Outcome outcome = tree.check();
    CHECK(outcome.status == 1);
    return outcome;
  };
  CHECK_SAYS(told([&](const Tree& t) { t.table("[\"core/below\"]\nincludes = [\"core/above\"]\n" + above); }), "a cycle: ");
  CHECK_SAYS(told([&](const Tree& t) { t.table(below); }), "core/above/above.cpp:1: the folder core/above is no room");
  CHECK_SAYS(told([&](const Tree& t) { t.table(below + "[\"core/above\"]\nincludes = [\"core/*\"]\n"); }),
             "no room of the table");
  CHECK_SAYS(told([&](const Tree& t) { t.write("core/above/above.cpp", ""); }),
             "core/above may include core/below, and does not");
  CHECK_SAYS(told([&](const Tree& t) { t.write("core/above/more.cpp", "#include \"nowhere.hpp\"\n"); }),
             "core/above/more.cpp:1: \"nowhere.hpp\" is no file of this tree");
  CHECK_SAYS(told([&](const Tree& t) { t.write("core/above/more.cpp", lines(3001)); }), "core/above: 3002 lines, 3000 at most");
  CHECK_SAYS(told([&](const Tree& t) {
               for (int i = 0; i < 25; ++i) t.write("core/above/more" + std::to_string(i) + ".cpp", "");
             }),
             "core/above: 26 names, 25 at most");
  CHECK_SAYS(told([&](const Tree& t) { t.write("core/above/README.md", lines(26)); }),
             "core/above/README.md: 26 lines, 25 at most");
}

TEST_CASE("lint: a public header belongs to the room that the table names") {
  if (!can_check()) return;
  const Tree tree;
  tree.write("core/include/onebit/below.hpp", "#pragma once\n");
  tree.write("core/above/above.cpp", "#include <onebit/below.hpp>\n");
  const std::string own = "[\"core/below\"]\npublic = [\"core/include/onebit/below.hpp\"]\nincludes = []\n";
  tree.table(own + "[\"core/above\"]\nincludes = [\"core/below\"]\n");
  CHECK_MESSAGE(tree.check().status == 0, tree.check().text);
  tree.table(own + "[\"core/above\"]\nincludes = []\n");
  CHECK_SAYS(tree.check(), "core/above/above.cpp:1: core/above may not include core/below (onebit/below.hpp)");
}

}  // namespace onebit::test
