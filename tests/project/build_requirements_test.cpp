// SPDX-License-Identifier: Apache-2.0
// What a build needs is told in a sentence where it lacks, warnings are errors for us alone, and `./dev test` asks for what its
// tests draw with.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

namespace onebit::test {
namespace {

namespace fs = std::filesystem;

std::string in_one_line(const std::string& text) {  // for CMake breaks its own
  std::string line;
  for (const char letter : text)
    if (letter != '\n' && letter != ' ')
      line += letter;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  return line;
}

// Configures these sources with nothing built. scripts: run by CMake right after project().
Outcome configure(const ScratchFolder& folder, const std::string& script, const std::string& arguments) {
  folder.file("after_project.cmake", script);
  Outcome outcome =
      run_shell("'" ONEBIT_CMAKE "' -G '" ONEBIT_GENERATOR "' -S '" ONEBIT_SOURCE_DIR "' -B '" + (folder / "build").string() +
                "' -DCMAKE_C_COMPILER='" ONEBIT_C_COMPILER "' -DCMAKE_CXX_COMPILER='" ONEBIT_CXX_COMPILER
                "' -DCMAKE_PROJECT_onebit_INCLUDE='" +
                (folder / "after_project.cmake").string() +
                "' -DONEBIT_TORCH=OFF -DONEBIT_MPI=OFF -DONEBIT_CUDA=OFF -DONEBIT_TESTS=OFF -DONEBIT_BENCH=OFF " + arguments);
  outcome.text = in_one_line(outcome.text);
  return outcome;
}

}  // namespace

TEST_CASE("an old compiler is told by its version, with what is needed and how to choose another") {
  for (const std::string compiler : {"GNU\" 9.4.0", "Clang\" 13.0.1"}) {
    const ScratchFolder folder;
    const size_t quote = compiler.find('"');
    const Outcome outcome = configure(folder,
                                      "set(CMAKE_CXX_COMPILER_ID \"" + compiler.substr(0, quote) +
                                          "\")\nset(CMAKE_CXX_COMPILER_VERSION " + compiler.substr(quote + 2) + ")\n",
                                      "");
    CHECK(outcome.status != 0);
    CHECK_SAYS(outcome, "onebit needs gcc 11 or clang 14, or a later one");
    CHECK_SAYS(outcome, compiler.substr(0, quote) + " " + compiler.substr(quote + 2));
    CHECK_SAYS(outcome, "-DCMAKE_CXX_COMPILER=g++-12");
  }
}

TEST_CASE("a toml11 of another version is told, with those that will do") {
  for (const std::string version : {"3.6.0", "5.0.0"}) {
    const ScratchFolder folder;
    folder.file("toml11Config.cmake", "add_library(toml11::toml11 INTERFACE IMPORTED)\n");
    folder.file("toml11ConfigVersion.cmake", "set(PACKAGE_VERSION " + version + ")\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n");
    const Outcome outcome = configure(folder, "", "-Dtoml11_DIR='" + folder.path().string() + "'");
    CHECK(outcome.status != 0);
    CHECK_SAYS(outcome, "onebit needs toml11 3.7 or 4, found " + version);
  }
}

TEST_CASE("warnings are errors with our presets, and not for who builds the package") {
  const ScratchFolder folder;
  const Outcome outcome = configure(folder, "", "");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  CHECK(contents_of(folder / "build/compile_commands.json").find("-Werror") == std::string::npos);
  CHECK(contents_of(folder / "build/compile_commands.json").find("-Wall") != std::string::npos);
  CHECK(contents_of(fs::path(ONEBIT_SOURCE_DIR) / "CMakePresets.json").find("\"ONEBIT_WERROR\": \"ON\"") != std::string::npos);
}

// A machine of stand-ins: a python3 of somebody's own without matplotlib, and Debian's tools, which find no package installed.
TEST_CASE("./dev test asks for Debian's matplotlib where the active Python has none") {
  if (::geteuid() != 0) {
    MESSAGE("SKIPPED: only root is given packages");
    return;
  }
  const ScratchFolder folder;
  fs::create_directory(folder / "bin");
  fs::copy_file(fs::path(ONEBIT_SOURCE_DIR) / "dev", folder / "dev");
  const auto program = [&](const std::string& name, const std::string& script) {
    fs::permissions(folder.file("bin/" + name, "#!/bin/bash\n" + script + "\n"), fs::perms::owner_all);
  };
  program("python3", "exit 1");
  program("apt-get", "echo \"$*\" >>'" + (folder / "asked").string() + "'");
  program("dpkg-query", ":");
  program("cmake", "exit 1");
  const Outcome outcome =
      run_shell("PATH='" + (folder / "bin").string() + "':/usr/bin:/bin bash '" + (folder / "dev").string() + "' test");
  CHECK(outcome.status != 0);  // with a cmake that fails nothing is built
  const std::string asked = contents_of(folder / "asked");
  CHECK_MESSAGE(asked.find("install -y --no-install-recommends python3 python3-matplotlib") != std::string::npos, asked);
}

}  // namespace onebit::test
