// SPDX-License-Identifier: Apache-2.0
// What is not ours takes nothing down: wrong libraries beside good ones, files of service accounts, and what a shell has set.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>

#include "striking.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::test::bad_plugin;
using onebit::test::in_quotes;
using onebit::test::onebit_command;
using onebit::test::Outcome;
using onebit::test::run_onebit;
using onebit::test::run_shell;

}  // namespace

TEST_CASE("check: a wrong library in plugins.path is warned of, and the configuration is checked all the same") {
  const ScratchFolder folder;
  const fs::path manifest =
      folder.file("a.toml", "[plugins]\npath = [\"gone.so\", \"" + bad_plugin("no_entry") +
                                "\"]\n[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n");
  const Outcome outcome = run_onebit("check " + in_quotes(manifest));
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "a.toml:2:8: plugin 'gone' (" + (folder / "gone.so").string() +
                          "): the file can't be found: No such file or directory; it is left out");
  CHECK_SAYS(outcome, "plugin 'no_entry' (" + bad_plugin("no_entry") + "): not an onebit plugin");
  CHECK_SAYS(outcome, ": valid; hash ");
}

TEST_CASE("list: what failed to load is shown with its reason, and is no failure of the command") {
  const Outcome outcome = run_shell("ONEBIT_PLUGIN_PATH=" + in_quotes(bad_plugin("no_entry")) + " " + onebit_command() +
                                    " --log-level off plugins list");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "failed: plugin 'no_entry' (" + bad_plugin("no_entry") + "): not an onebit plugin");
  CHECK_SAYS(outcome, "optimizer     adam ");
}

TEST_CASE("--trusted-owner: list, inspect, probe and verify look at files of a service account") {
  const ScratchFolder folder;
  const fs::path file = folder / "plain.so";
  fs::copy_file(bad_plugin("none"), file);
  if (::chown(file.c_str(), 12345, 12345) != 0) {
    MESSAGE("SKIPPED: only root can give a file away, which this test needs");
    return;
  }
  const std::string environment = "ONEBIT_PLUGIN_PATH=" + in_quotes(folder.path()) + " ";
  CHECK_SAYS(run_shell(environment + onebit_command() + " plugins list"), "failed: plugin 'plain'");
  const Outcome list = run_shell(environment + onebit_command() + " plugins list --trusted-owner 12345");
  CHECK_SAYS(list, "optimizer     plain ");
  CHECK_MESSAGE(list.text.find("failed: ") == std::string::npos, list.text);
  for (const std::string task : {"inspect", "probe"}) {
    const Outcome refused = run_onebit("plugins " + task + " " + in_quotes(file));
    CHECK(refused.status == 1);
    CHECK_SAYS(refused, "the file belongs to user 12345");
    const Outcome trusted = run_onebit("plugins " + task + " --trusted-owner root --trusted-owner 12345 " + in_quotes(file));
    CHECK_MESSAGE(trusted.status == 0, trusted.text);
  }
  const Outcome verified = run_onebit("plugins verify --trusted-owner 12345 " + in_quotes(file));
  CHECK_SAYS(verified, "passed   plugin loads: plain 0.9.1");
  const Outcome unknown = run_onebit("plugins list --trusted-owner nobody_of_that_name");
  CHECK(unknown.status == 1);
  CHECK_SAYS(unknown, "expected a user's name or number, found \"nobody_of_that_name\", and this machine has no such user");
}

TEST_CASE("probe: a shell that ignores the end of children") {
  const Outcome outcome =
      run_shell("trap '' CHLD; exec " + onebit_command() + " plugins probe --timeout 20 " + in_quotes(bad_plugin("none")));
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, ": loads\n");
}
