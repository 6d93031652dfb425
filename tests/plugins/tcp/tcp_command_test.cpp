// SPDX-License-Identifier: Apache-2.0
// The command over `tcp`: it starts its own processes, which have the same bits as threads, and end together.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <utility>

#include "support/recorded_trace.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_data_set.hpp"

using onebit::test::closed_form;
using onebit::test::onebit_command;
using onebit::test::Outcome;
using onebit::test::run_onebit;
using onebit::test::run_shell;
using onebit::test::write_trace;

namespace {

const std::string kManifest =
    "[optimizer]\nplugin = \"onebit_adam\"\nlr = 1e-2\nfreeze_step = 2\n[compressor]\nplugin = \"onebit\"\nblock = 64\n"
    "[communicator]\nplugin = \"threads\"\n[exchange]\nbucket_bytes = 4096\n";

// A run of two ranks that only a signal ends; the shell has the command's process in $p, and goes on when it is in its steps.
std::string endless(const ScratchFolder& folder) {
  onebit::test::write_data_set(onebit::test::small_data_set(640, 200), folder.path());
  folder.file("c.toml", kManifest + "[train]\nmodel = \"cnn\"\nbatch = 16\nepochs = 10000\n");
  const std::string out = (folder / "out").string(), said = (folder / "said").string();
  return onebit_command() + " train " + (folder / "c.toml").string() + " --set train.data_folder=" + folder.path().string() +
         " --set communicator.plugin=tcp --set communicator.timeout=60 --ranks 2 --out " + out + " > " + said +
         " 2>&1 & p=$!; until [ -s " + out + "/metrics.jsonl ] && [ $(wc -l < " + out +
         "/metrics.jsonl) -gt 3 ]; do kill -0 $p || { cat " + said + "; exit 9; }; sleep 0.05; done; ";
}
std::string then_say(const ScratchFolder& folder) {
  return "; wait $p; s=$?; cat " + (folder / "said").string() + "; pgrep -ax onebit | grep -q " + folder.path().string() +
         " && echo left; exit $s";
}

}  // namespace

TEST_CASE("tcp: the command starts its own processes, which write the file that threads write") {
  for (const int ranks : {2, 4}) {
    CAPTURE(ranks);
    const ScratchFolder folder;
    folder.file("c.toml", kManifest);
    write_trace(folder / "in", closed_form({5000, 33, 7, 1}, ranks, 1, 6));
    const auto replay = [&](const std::string& communicator, const std::string& before) {
      return run_shell(before + onebit_command() + " replay " + (folder / "c.toml").string() + " --gradients " +
                       (folder / "in").string() + " --out " + (folder / communicator).string() +
                       " --set communicator.plugin=" + communicator + " --local_rank=0");
    };
    REQUIRE(replay("threads", "").status == 0);
    // what torchrun or a shell has left in the environment does not reach the ranks
    const Outcome processes = replay("tcp", "RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 MASTER_PORT=1 TORCHELASTIC_RUN_ID=x ");
    CHECK_MESSAGE(processes.status == 0, processes.text);
    CHECK_SAYS(processes, "onebit: starting " + std::to_string(ranks) + " processes of this machine, one for each rank\n");
    CHECK(contents_of(folder / "tcp") == contents_of(folder / "threads"));
  }
}

TEST_CASE("tcp: an error of all ranks is the command's, and one rank alone needs no process") {
  const ScratchFolder folder;
  folder.file("c.toml", kManifest);
  const auto replay = [&](int ranks, const std::string& more) {
    write_trace(folder / "in", closed_form({50}, ranks, 1, 3));
    return run_onebit("replay " + (folder / "c.toml").string() + " --gradients " + (folder / "in").string() + " --out " +
                      (folder / "out").string() + " --set communicator.plugin=tcp " + more);
  };
  const Outcome refused = replay(2, "--set communicator.interface=nowhere.invalid");
  CHECK(refused.status == 1);
  CHECK_SAYS(refused, "starting 2 processes");
  CHECK_SAYS(refused, "[rank 0 of 2] onebit: error: ");
  CHECK_SAYS(refused, "option 'interface' is 'nowhere.invalid'");
  const Outcome alone = replay(1, "");
  CHECK_MESSAGE(alone.status == 0, alone.text);
  CHECK_MESSAGE(alone.text.find("starting") == std::string::npos, alone.text);
}

TEST_CASE("tcp: a signal at the command ends all ranks after a step, and so does its end") {
  if (ONEBIT_WITH_TORCH == 0) {
    MESSAGE("SKIPPED: this build has no libtorch (ONEBIT_TORCH=OFF)");
    return;
  }
  const ScratchFolder folder;
  for (const auto& [signal, status] : {std::pair("INT", 130), {"TERM", 143}, {"KILL", 137}}) {
    const std::string end = std::string("kill -") + signal + " $p; " + (status == 137 ? "sleep 5" : "true");
    CAPTURE(end);
    const Outcome outcome = run_shell(endless(folder) + end + then_say(folder));
    CHECK_MESSAGE(outcome.status == status, outcome.text);
    CHECK_SAYS(outcome, "interrupted");
    CHECK_MESSAGE(outcome.text.find("left") == std::string::npos, outcome.text);
    std::filesystem::remove_all(folder / "out");
  }
}

TEST_CASE("tcp: a rank that is killed ends the command, and both name it") {
  if (ONEBIT_WITH_TORCH == 0) {
    MESSAGE("SKIPPED: this build has no libtorch (ONEBIT_TORCH=OFF)");
    return;
  }
  const ScratchFolder folder;
  const Outcome outcome = run_shell(endless(folder) + "kill -KILL $(pgrep -P $p | tail -n 1)" + then_say(folder));
  CHECK_MESSAGE(outcome.status != 0, outcome.text);
  CHECK_SAYS(outcome, "onebit: rank 1 was ended by signal 9 (Killed)");
  CHECK_SAYS(outcome, "[rank 0 of 2] onebit: error: ");
  CHECK_SAYS(outcome, "rank 1 failed: it");
  CHECK_MESSAGE(outcome.text.find("left") == std::string::npos, outcome.text);
}
