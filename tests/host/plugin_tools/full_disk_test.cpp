// SPDX-License-Identifier: Apache-2.0
// Every command that prints, on a full disk: exit code 1, and one sentence with the reason.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/recorded_trace.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_data_set.hpp"

using onebit::test::onebit_command;
using onebit::test::Outcome;
using onebit::test::run_shell;

namespace {

const char* const kAdamOnThreads =
    "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n[train]\nbatch = 16\n";
const char* const kSummaryOfARun =
    R"({"config": "one", "status": "completed", "final_test_accuracy": 0.5, "final_test_loss": 1, "final_train_loss": 1,
        "train_seconds": 1, "steps": 3, "skipped_steps": 0, "ranks": 2, "bytes_sent_per_rank": 5,
        "wire_bits_per_parameter": {"dense": 32, "compressed": null}})";

// arguments: of onebit.
Outcome onto_full_disk(const std::string& arguments) { return run_shell(onebit_command() + " " + arguments + " >/dev/full"); }

void check_told(const std::string& arguments) {
  CAPTURE(arguments);
  const Outcome outcome = onto_full_disk(arguments);
  CHECK(outcome.status == 1);
  CHECK(outcome.text == "onebit: error: standard output cannot be written: No space left on device\n");
}

}  // namespace

TEST_CASE("on a full disk every command that prints fails, and says why") {
  const ScratchFolder folder;
  const std::string config = folder.file("c.toml", kAdamOnThreads), summary = folder.file("summary.json", kSummaryOfARun);
  onebit::test::write_trace(folder / "in", onebit::test::closed_form({5}, 2, 1, 2));
  const std::string plugin = ONEBIT_BINARY_DIR "/lib/onebit/plugins/onebit_plugin_adam.so";
  for (const std::string& arguments : std::vector<std::string>{
           "--help", "--version", "train --help", "check " + config, "plugins list", "plugins list --json",
           "plugins inspect " + plugin, "plugins inspect --json " + plugin, "plugins probe " + plugin,
           "plugins probe --json " + plugin, "plugins new --kind optimizer mine --into " + folder.path().string(),
           "compare " + summary, "compare --markdown " + summary,
           "replay " + config + " --gradients " + (folder / "in").string() + " --out " + (folder / "out").string()})
    check_told(arguments);
  for (const char* json : {"", "--json "}) {
    const Outcome outcome = onto_full_disk(std::string("plugins verify ") + json + ONEBIT_BAD_PLUGINS "/other_major.so");
    CHECK(outcome.status == 1);
    CHECK_SAYS(outcome, "standard output cannot be written: No space left on device");
  }
}

TEST_CASE("what is printed never goes into a file that got the number of a closed standard output") {
  const ScratchFolder folder;
  const std::string config = folder.file("c.toml", kAdamOnThreads);
  for (const std::string& arguments :
       {"check " + config, "plugins new --kind optimizer mine --into " + folder.path().string()}) {
    const Outcome outcome = run_shell(onebit_command() + " " + arguments + " >&-");
    CHECK(outcome.status == 1);
    CHECK(outcome.text == "onebit: error: standard output cannot be written: Bad file descriptor\n");
  }
}

TEST_CASE("on a full disk a run that can't even say that it begins ends at once") {
  if (ONEBIT_WITH_TORCH == 0) {
    MESSAGE("SKIPPED: this build has no libtorch (ONEBIT_TORCH=OFF)");
    return;
  }
  const ScratchFolder folder;
  onebit::test::write_data_set(onebit::test::small_data_set(64, 20), folder.path());
  check_told("train " + std::string(folder.file("c.toml", kAdamOnThreads)) +
             " --set train.data_folder=" + folder.path().string() + " --out " + (folder / "out").string());
  CHECK(contents_of(folder / "out/summary.json").find("\"status\": \"failed\"") != std::string::npos);
}
