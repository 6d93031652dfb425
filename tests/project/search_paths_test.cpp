// SPDX-License-Identifier: Apache-2.0
// Where our programs and libraries look for those that they need: beside themselves, and never in the working directory. Read
// from every file that is linked here; what is installed is read in package_test.cpp.
#include "support/search_paths.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::test::LinkedFile;
using onebit::test::Outcome;
using onebit::test::run_shell;

const fs::path kBuildFolder = ONEBIT_BINARY_DIR;

// All that CMake links here and that has been built, and what other means have made.
std::vector<fs::path> linked_here() {
  std::vector<fs::path> files;
  std::ifstream list(kBuildFolder / "linked_files.txt");
  for (std::string line; std::getline(list, line);)
    if (fs::is_regular_file(line)) files.emplace_back(line);
  for (const char* folder : {"abi_plugins", "tests/sdk/examples"})
    if (fs::is_directory(kBuildFolder / folder))
      for (const fs::path& file : onebit::test::linked_files_in(kBuildFolder / folder))
        if (file.string().find("/CMakeFiles/") == std::string::npos) files.push_back(file);
  return files;
}

std::string fault(const std::string& entry) {
  const LinkedFile linked = {"/opt/x/bin/program", {}, {"libc.so.6"}};
  return onebit::test::fault_of(linked, entry, "/opt/x");
}

}  // namespace

TEST_CASE("every file that is linked here looks beside itself, or where a library was found, and nowhere else") {
  const std::vector<fs::path> files = linked_here();
  std::set<std::string> names;
  for (const fs::path& file : files) names.insert(file.filename());
  for (const std::string name : {"onebit", "onebit_plugin_threads.so", "onebit_plugin_adam.so", "project_test", "none.so"})
    CHECK_MESSAGE(names.count(name) == 1, name);
  const std::string faults = onebit::test::search_path_faults(files, kBuildFolder);
  CHECK_MESSAGE(faults.empty(), faults);
}

TEST_CASE("the command finds its libraries whatever lies in the working directory") {
  const ScratchFolder here;
  std::set<std::string> names;
  for (const char* file : {"bin/onebit", "lib/libonebit_core.so", "lib/onebit/plugins/onebit_plugin_adam.so",
                           "lib/onebit/plugins/onebit_plugin_mpi.so"})
    if (fs::exists(kBuildFolder / file))
      for (const std::string& name : onebit::test::linked_file(kBuildFolder / file).needed) names.insert(name);
  REQUIRE(names.size() > 5);
  for (const std::string& name : names) here.file(name, "no library at all");
  const std::string enter = "cd '" + here.path().string() + "' && ";
  const Outcome version = run_shell(enter + onebit::test::onebit_command() + " --version");
  CHECK_MESSAGE(version.status == 0, version.text);
  const Outcome list = run_shell(enter + onebit::test::onebit_command() + " plugins list");
  CHECK_MESSAGE(list.status == 0, list.text);
  CHECK_MESSAGE(list.text.find("failed: ") == std::string::npos, list.text);
}

TEST_CASE("what is a fault and what is none") {
  CHECK(fault("$ORIGIN") == "");
  CHECK(fault("$ORIGIN/../lib") == "");
  CHECK(fault("$ORIGIN/../lib/./.") == "");
  CHECK(fault("") == "is empty, which means the working directory");
  CHECK(fault("lib") == "is relative to the working directory");
  CHECK(fault(".") == "is relative to the working directory");
  CHECK(fault("$ORIGIN/../../y") == "leads out of /opt/x");
  CHECK(fault("/opt/x/lib") == "is one of our own, and not by $ORIGIN");
  CHECK(fault("/no/such/folder") == "is not there");
  CHECK(fault("/dev/shm") == "is writable by everybody");
  CHECK(fault("/proc") == "");
  CHECK(onebit::test::entries_of("$ORIGIN:").size() == 2);
  CHECK(onebit::test::entries_of("a::b") == std::vector<std::string>{"a", "", "b"});
}
