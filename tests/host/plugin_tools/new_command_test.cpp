// SPDX-License-Identifier: Apache-2.0
// `onebit plugins new`: what it writes, what it refuses; and the written projects, made and tried by the very commands that it
// prints.
#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plugin_tools/template_project.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_data_set.hpp"
#include "support/text.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::test::contains;
using onebit::test::Outcome;
using onebit::test::run_onebit;
using onebit::test::run_shell;

const std::set<std::string> kFiles = {"CMakeLists.txt", "README.md", "conformance.cpp", "demo.toml", "plugin.cpp"};

Outcome make_project(const std::string& kind, const std::string& name, const fs::path& into) {
  return run_onebit("plugins new --kind " + kind + " '" + name + "' --into '" + into.string() + "'");
}

// The commands that `new` says are next, the first to be run in the folder where it ran.
std::vector<std::string> commands_of(const Outcome& outcome) {
  std::vector<std::string> commands;
  if (outcome.status != 0) return commands;
  for (size_t at = outcome.text.find("next:\n") + 6; at < outcome.text.size();) {
    const size_t end = outcome.text.find('\n', at);
    commands.push_back(outcome.text.substr(at + 2, end - at - 2));
    at = end + 1;
  }
  return commands;
}

// In the build folder, where the compiler's cache finds again what it has compiled there.
struct Workshop {
  explicit Workshop(const std::string& kind) : folder(fs::path(ONEBIT_BINARY_DIR) / "new_projects" / kind) {
    fs::remove_all(folder);
  }
  ~Workshop() {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  fs::path folder;
};

void try_project(const std::string& kind, const std::string& train_more) {
#ifdef ONEBIT_SANITIZED
  MESSAGE("SKIPPED: a sanitized core can't be linked to an author's test program, of " << kind << train_more);
  return;
#endif
  const Workshop workshop(kind);
  const Outcome made = make_project(kind, "fresh", workshop.folder);
  REQUIRE_MESSAGE(made.status == 0, made.text);
  const std::vector<std::string> next = commands_of(made);
  REQUIRE(next.size() == 6);
  CHECK(contains(next[1], "cmake -S . -B build -Donebit_DIR="));  // this command's package: that of its build folder
  const std::string environment = "export CXX='" ONEBIT_CXX_COMPILER "' CMAKE_CXX_COMPILER_LAUNCHER='" ONEBIT_CXX_LAUNCHER
                                  "' CMAKE_BUILD_TYPE=Debug CMAKE_GENERATOR='" ONEBIT_GENERATOR "'\n";
  const auto run = [&](const std::string& command) {
    const Outcome outcome = run_shell(environment + next[0] + " && " + command);
    REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
    return outcome;
  };
  run(next[1]);
  run(next[2]);
  const Outcome tested = run(next[3]);
  CHECK_SAYS(tested, "100% tests passed");
  const Outcome verified = run(next[4]);
  CHECK_SAYS(verified, "passed   plugin exports: the entry and nothing else");
  CHECK_SAYS(verified, " 0 failed, ");
  if (ONEBIT_WITH_TORCH == 0) {
    MESSAGE("SKIPPED: training with the project, for this build has no libtorch (ONEBIT_TORCH=OFF)");
    return;
  }
  fs::create_directory(workshop.folder / "data");
  onebit::test::write_data_set(onebit::test::small_data_set(640, 200), workshop.folder / "data");
  const Outcome trained = run(next[5] + " --set train.data_folder='" + (workshop.folder / "data").string() +
                              "' --set train.batch=16 --set train.epochs=3 --set train.log_every=10 " + train_more);
  CHECK_SAYS(trained, "out/demo/summary.json");
  const size_t accuracy = trained.text.rfind("test accuracy ");
  REQUIRE(accuracy != std::string::npos);
  CHECK(std::stod(trained.text.substr(accuracy + 14)) > 50);  // of ten classes, in 60 steps
}

}  // namespace

TEST_CASE("new: what it writes has the name in it, and no placeholder is left") {
  for (const std::string kind : {"optimizer", "compressor", "communicator"}) {
    const ScratchFolder folder;
    const Outcome made = make_project(kind, "top_k2", folder.path());
    REQUIRE_MESSAGE(made.status == 0, made.text);
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder / "top_k2")) {
      const std::string name = entry.path().filename(), text = contents_of(entry.path());
      names.insert(name);
      CHECK_FALSE_MESSAGE(contains(text, "my_plugin"), name);
      CHECK_FALSE_MESSAGE(contains(text, "MyPlugin"), name);
      CHECK_MESSAGE(text.back() == '\n', name);
      if (kFiles.count(name) > 0 && name != "conformance.cpp") CHECK_MESSAGE(contains(text, "top_k2"), name);
    }
    for (const std::string& name : kFiles) CHECK_MESSAGE(names.count(name) == 1, name);
    const std::string source = contents_of(folder / "top_k2/plugin.cpp");
    CHECK(contains(source, "class TopK2 final : public onebit::"));
    CHECK(contains(source, "// ---- The lines to change: "));
    CHECK(contains(source, "ONEBIT_PLUGIN(\"top_k2\", \"0.1.0\", onebit::component<TopK2>(\"top_k2\"))"));
  }
}

TEST_CASE("new: the templates in the command are the files of sdk/templates") {
  std::map<std::string, int> kinds;
  for (const onebit::host::TemplateFile& file : onebit::host::template_files()) {
    ++kinds[std::string(file.kind)];
    CHECK(file.text == contents_of(fs::path(ONEBIT_SOURCE_DIR) / "sdk/templates" / file.kind / file.name));
  }
  for (const char* kind : {"optimizer", "compressor", "communicator"}) CHECK(kinds[kind] >= 5);
  CHECK(onebit::host::class_name_of("a") == "A");
  CHECK(onebit::host::class_name_of("eight__bit_") == "EightBit");
}

TEST_CASE("new: names that can't be are refused, and nothing is written") {
  const ScratchFolder folder;
  const std::string form = "expected lower case letters, digits and '_', and a letter first";
  const std::vector<std::pair<std::string, std::string>> names = {
      {"", form},
      {"Sgd", form},
      {"my-sgd", form},
      {"8bit", form},
      {"_x", form},
      {"../x", form},
      {"a b", form},
      {std::string(65, 'a'), "expected at most 64 letters"},
      {"test", "the project has another target of this name"},
      {"conformance", "the project has another target of this name"},
      {"adam", "onebit has an optimizer of this name: "},
  };
  for (const auto& [name, reason] : names) {
    const Outcome refused = make_project("optimizer", name, folder.path());
    CHECK(refused.status == 1);
    CHECK_SAYS(refused, "onebit: error: the name '" + name + "': " + reason);
  }
  const Outcome threads = make_project("communicator", "threads", folder.path());
  CHECK_SAYS(threads, "onebit has a communicator of this name");
  CHECK(fs::is_empty(folder.path()));
  CHECK(make_project("optimizer", "onebit", folder.path()).status == 0);  // the built-in one is a compressor
  CHECK(make_project("scheduler", "mine", folder.path()).status == 2);
  CHECK(run_onebit("plugins new mine").status == 2);
}

TEST_CASE("new: nothing is overwritten") {
  const ScratchFolder folder;
  fs::create_directory(folder / "empty");
  folder.file("file", "mine");
  fs::create_symlink("/absent", folder / "link");
  for (const char* name : {"empty", "file", "link"}) {
    const Outcome refused = make_project("compressor", name, folder.path());
    CHECK(refused.status == 1);
    CHECK_SAYS(refused, "onebit: error: " + (folder / name).string() + " is there already, and nothing is overwritten");
  }
  CHECK(contents_of(folder / "file") == "mine");
  CHECK(fs::is_empty(folder / "empty"));
  CHECK(make_project("compressor", "deeper", folder / "a/b").status == 0);  // makes what is above
  CHECK(fs::exists(folder / "a/b/deeper/plugin.cpp"));
  const Outcome below_a_file = make_project("compressor", "mine", folder / "file");
  CHECK(below_a_file.status == 1);
  CHECK_SAYS(below_a_file, "can't be made: Not a directory");
}

TEST_CASE("new: the commands that it prints can be typed where it ran") {
  const ScratchFolder folder;
  fs::create_directory(folder / "it's here");
  const std::string where = "cd '" + folder.path().string() + "' && ", command = onebit::test::onebit_command();
  const Outcome odd = run_shell(where + command + " plugins new --kind optimizer mine --into \"it's here\"");
  REQUIRE_MESSAGE(commands_of(odd).size() == 6, odd.text);
  CHECK(run_shell(where + commands_of(odd)[0] + " && LC_ALL=C ls").text ==
        "CMakeLists.txt\nREADME.md\nconformance.cpp\ndemo.toml\nplugin.cpp\n");
  CHECK(commands_of(odd)[4] == command + " plugins verify build/mine.so");
  CHECK(commands_of(odd)[5] == command + " train demo.toml");
  const Outcome known =
      run_shell(where + "PATH='" ONEBIT_BINARY_DIR "/bin':\"$PATH\" onebit plugins new --kind optimizer mine");
  REQUIRE_MESSAGE(commands_of(known).size() == 6, known.text);
  CHECK(commands_of(known)[0] == "cd mine");
  CHECK(commands_of(known)[4] == "onebit plugins verify build/mine.so");
}

// What is compiled is outside of the tree, with nothing of ours but the package: that takes the suites' headers some seconds.
TEST_CASE("new: a written optimizer is built, passes its test, is verified and trains") { try_project("optimizer", ""); }
TEST_CASE("new: a written compressor is built, passes its test, is verified and trains") {
  try_project("compressor", "--set optimizer.freeze_step=20");
}
TEST_CASE("new: a written communicator is built, passes its test, is verified and trains") {
  try_project("communicator", "--set optimizer.freeze_step=20");
}
