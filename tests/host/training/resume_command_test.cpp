// SPDX-License-Identifier: Apache-2.0
// Runs that are killed and started again by the same command line; what is left of them, evaluated.
#include <doctest/doctest.h>

#include <filesystem>
#include <regex>

#include "onebit/checkpoint.hpp"
#include "onebit/safetensors.hpp"
#include "small_run.hpp"
#include "support/held_port.hpp"
#include "support/mpirun.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"

using onebit::test::can_train;
using onebit::test::onebit_command;
using onebit::test::Outcome;
using onebit::test::run_onebit;
using onebit::test::run_shell;
using onebit::test::SmallRun;

namespace {

namespace fs = std::filesystem;

const std::string kRestartable = "restartable";
const std::string kSaved = "--set train.epochs=10 --set optimizer.freeze_step=30 --set checkpoint.every=10 ";

std::string resumable(const SmallRun& run, const std::string& more = "") {
  return run.arguments(kRestartable, kSaved + "--resume " + more);
}
// On processes that any launcher has started: over a communicator that needs but their rendezvous, and has no options.
std::string resumable_by_launcher(const SmallRun& run, const std::string& more = "") {
  const std::regex lines("\n(timeout|stall) = [^\n]*");
  const fs::path file =
      run.folder.file("meeting.toml", std::regex_replace(contents_of(onebit::test::config(kRestartable)), lines, ""));
  std::string arguments =
      resumable(run, "--set 'plugins.path=[\"" ONEBIT_BAD_PLUGINS "/meeting.so\"]' --set communicator.plugin=meeting ");
  return arguments.replace(arguments.find(onebit::test::config(kRestartable)), onebit::test::config(kRestartable).size(),
                           file.string()) +
         more;
}

// For a shell: a loop as launching.md has it. command: how onebit is started.
std::string restart_loop(const std::string& command) { return "for attempt in 1 2 3 4 5; do " + command + " && break; done"; }

// For a shell: kills the process whose number is in a file, once there is a checkpoint of step 20 or later, or it is gone.
std::string killer(const SmallRun& run, const std::string& process) {
  const std::string out = (run.folder / kRestartable).string();
  const std::string number = (run.folder / process).string();
  return "( until grep -qsE '([2-9]|[1-9][0-9])0$' " + out + "/checkpoints/latest || { [ -s " + number +
         " ] && ! kill -0 $(cat " + number + "); }; do sleep 0.01; done; kill -KILL $(cat " + number + ") ) & ";
}

// For a shell: notes its process, and becomes onebit.
std::string noted(const SmallRun& run, const std::string& process) {
  return "sh -c 'echo $$ >" + (run.folder / process).string() + "; exec \"$@\"' sh " + onebit_command() + " ";
}

std::string undisturbed_hash(const SmallRun& run) {
  const Outcome outcome =
      run_onebit("train " + onebit::test::config(kRestartable) + " --out " + (run.folder / "whole").string() + run.data() +
                 "--set train.batch=16 --set train.log_every=10 " + kSaved);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  return run.summary("whole")["parameter_hash"].get<std::string>();
}

}  // namespace

TEST_CASE("train: one command line starts a run, and goes on with it after kill -9") {
  if (!can_train()) return;
  const SmallRun run;
  const std::string expected = undisturbed_hash(run);
  const Outcome outcome =
      run_shell(killer(run, "process") + restart_loop(noted(run, "process") + resumable(run)) + "; wait; exit 0");
  CHECK_SAYS(outcome, "no checkpoint is there, so the run begins");
  CHECK_SAYS(outcome, ": goes on after step ");
  CHECK(run.summary(kRestartable)["status"] == "completed");
  CHECK(run.summary(kRestartable)["parameter_hash"] == expected);
  CHECK(run.summary(kRestartable)["steps"] == 200);
}

TEST_CASE("train: mpirun in a loop goes on after a rank was killed") {
  if (!can_train() || !onebit::test::can_mpirun()) return;
  const SmallRun run;
  const std::string expected = undisturbed_hash(run);
  const std::string rank = "sh -c 'echo $$ >" + run.folder.path().string() +
                           "/rank$OMPI_COMM_WORLD_RANK$PMI_RANK; exec \"$@\"' sh " + onebit_command() + " ";
  const Outcome outcome = run_shell("export PATH; " + killer(run, "rank1") +
                                    restart_loop("env OMPI_MCA_odls_base_sigkill_timeout=0 " + onebit::test::mpirun_command(2) +
                                                 rank + resumable(run, "--set communicator.plugin=mpi")) +
                                    "; wait; exit 0");
  CHECK_SAYS(outcome, ": goes on after step ");
  CHECK_MESSAGE(run.summary(kRestartable)["parameter_hash"] == expected, outcome.text);
}

TEST_CASE("train: processes that torchrun starts again go on, each time with another place to meet") {
  if (!can_train()) return;
  const SmallRun run;
  const std::string expected = undisturbed_hash(run);
  // As torchrun does it: one rank failed, so all are ended and started again, TORCHELASTIC_RESTART_COUNT counts on.
  const auto round = [&](int count, const std::string& before) {
    const onebit::test::HeldPort port;
    const std::string common =
        "env -u OMPI_COMM_WORLD_RANK -u PMI_RANK -u SLURM_PROCID WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 "
        "MASTER_ADDR=127.0.0.1 TORCHELASTIC_RUN_ID=one TORCHELASTIC_RESTART_COUNT=" +
        std::to_string(count) + " MASTER_PORT=" + std::to_string(port.port());
    const auto rank = [&](const std::string& number) {
      return common + " RANK=" + number + " LOCAL_RANK=" + number + " timeout 120 " + noted(run, "rank" + number) +
             resumable_by_launcher(run);
    };
    return run_shell(before + rank("0") + " & p=$!; " + rank("1") + " & wait $! || kill -KILL $(cat " +
                     (run.folder / "rank0").string() + "); wait $p");
  };
  const Outcome killed = round(0, killer(run, "rank1"));
  CHECK_MESSAGE(killed.status != 0, killed.text);
  const Outcome again = round(1, "");
  CHECK_MESSAGE(again.status == 0, again.text);
  CHECK_SAYS(again, ": goes on after step ");
  CHECK(run.summary(kRestartable)["parameter_hash"] == expected);
}

TEST_CASE("train: torchrun --max-restarts goes on after a rank was killed") {
  if (!can_train()) return;
  if (run_shell("torchrun --help").status != 0) {
    MESSAGE("SKIPPED: there is no torchrun");
    return;
  }
  const SmallRun run;
  const std::string expected = undisturbed_hash(run);
  const fs::path script =
      run.folder.file("rank.sh", "#!/bin/sh\necho $$ >" + run.folder.path().string() + "/rank$RANK\nexec \"$@\"\n");
  fs::permissions(script, fs::perms::owner_all);
  // Names of options with _ are known to all versions; under Python 3.11 torchrun 1.13 can't do without the redirection.
  const std::string torchrun =
      "timeout 200 torchrun --max_restarts 3 --monitor_interval 0.1 --no_python --nproc_per_node 2 --rdzv_backend c10d "
      "--rdzv_endpoint localhost:0 --redirects 1 --tee 1 --log_dir " +
      (run.folder / "logs").string() + " " + script.string() + " " + onebit_command() + " ";
  // torchrun tells the other rank to stop, which it can't do after a step.
  const Outcome outcome =
      run_shell(killer(run, "rank1") + torchrun + resumable_by_launcher(run, "--set train.grace=1") + "; s=$?; wait; exit $s");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, ": goes on after step ");
  CHECK(run.summary(kRestartable)["parameter_hash"] == expected);
}

TEST_CASE("train: without --resume a folder of checkpoints is left alone") {
  if (!can_train()) return;
  const SmallRun run;
  const std::string once = run.arguments(kRestartable, "--set train.epochs=1");
  REQUIRE(run_onebit(once).status == 0);
  const std::string summary = contents_of(run.folder / kRestartable / "summary.json");
  const Outcome outcome = run_onebit(once);
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, "there are checkpoints of an earlier run; go on from them with --resume alone, or save elsewhere");
  CHECK(contents_of(run.folder / kRestartable / "summary.json") == summary);
  const Outcome nowhere = run_onebit(run.arguments("adam", "--resume"));
  CHECK(nowhere.status == 1);
  CHECK_SAYS(nowhere, "--resume: there is no folder of checkpoints; give one, --resume FOLDER, or set checkpoint.folder");
}

TEST_CASE("train: SIGTERM saves, and the exit status is as ever") {
  if (!can_train()) return;
  const SmallRun run;
  const std::string metrics = (run.folder / kRestartable / "metrics.jsonl").string();
  const Outcome outcome =
      run_shell(onebit_command() + " " + resumable(run, "--set train.epochs=10000") + " >/dev/null & p=$!; while ! [ -s " +
                metrics + " ]; do kill -0 $p || exit 9; sleep 0.05; done; kill -TERM $p; wait $p");
  CHECK(outcome.status == 143);
  const auto summary = run.summary(kRestartable);
  CHECK(summary["status"] == "interrupted");
  const auto saved = onebit::list_checkpoints(run.folder / kRestartable / "checkpoints");
  CHECK(saved.latest == summary["steps"].get<uint64_t>());
  CHECK(fs::exists(run.folder / kRestartable / "model.safetensors"));
}

TEST_CASE("train: another optimizer is refused the state of a checkpoint, and begins with its parameters alone") {
  if (!can_train()) return;
  const SmallRun run;
  const std::string once = run.arguments("lamb", "--set train.epochs=1 ");
  REQUIRE(run_onebit(once).status == 0);
  const double fresh = run.summary("lamb")["final_train_loss"];
  REQUIRE(run_onebit(run.arguments(kRestartable, "--set train.epochs=3")).status == 0);
  const std::string resumed = once + "--resume " + (run.folder / kRestartable / "checkpoints").string();
  const Outcome refused = run_onebit(resumed);
  CHECK(refused.status == 1);
  CHECK_SAYS(refused, "the optimizer was \"onebit_adam\" when it was saved and is \"lamb\" here; load it with ignore_state");
  const Outcome outcome = run_onebit(resumed + " --ignore-state");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "step-00000060: the run begins with the parameters of step 60, saved by 2 ranks");
  CHECK_SAYS(outcome, "begins afresh: the optimizer's state, errors and the step number");
  CHECK(run.summary("lamb")["steps"] == 20);
  CHECK(run.summary("lamb")["final_train_loss"].get<double>() < fresh / 2);
  const Outcome alone = run_onebit(once + "--ignore-state");
  CHECK(alone.status == 1);
  CHECK_SAYS(alone, "give --resume FOLDER, too");
}

TEST_CASE("evaluate: the figures of the run, from its checkpoint and from its results") {
  if (!can_train()) return;
  const SmallRun run;
  REQUIRE(run_onebit(run.arguments(kRestartable, "--set train.epochs=3")).status == 0);
  const auto summary = run.summary(kRestartable);
  const fs::path out = run.folder / kRestartable;
  for (const fs::path& where : {out, out / "checkpoints", out / "checkpoints/step-00000060", out / "model.safetensors"}) {
    const std::string arguments = "evaluate " + onebit::test::config("adam") + run.data() + "--checkpoint " + where.string();
    const Outcome outcome = run_onebit(arguments + " --json");
    REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
    const auto found = nlohmann::json::parse(outcome.text);
    CHECK(found["test_loss"].get<double>() == doctest::Approx(summary["final_test_loss"].get<double>()).epsilon(1e-6));
    CHECK(found["test_accuracy"] == summary["final_test_accuracy"]);
    CHECK(found["samples"] == 200);
    CHECK_SAYS(run_onebit(arguments), "test accuracy ");
  }
  const Outcome other = run_onebit("evaluate " + onebit::test::config("adam") + run.data() +
                                   "--set train.model=mlp --checkpoint " + out.string());
  CHECK(other.status == 1);
  CHECK_SAYS(other, "is of another model: its tensor 'fc1.weight' has the shape [64, 800], expected [4096, 784]");
  const Outcome none =
      run_onebit("evaluate " + onebit::test::config("adam") + run.data() + "--checkpoint " + run.folder.path().string());
  CHECK(none.status == 1);
  CHECK_SAYS(none, "expected a checkpoint, a folder of checkpoints, or the folder of a run");
}

TEST_CASE("train: results end with the model, with checkpoints or without") {
  if (!can_train()) return;
  const SmallRun run;
  REQUIRE(run_onebit(run.arguments("adam", "--set train.epochs=1")).status == 0);
  const onebit::SafetensorsReader model(run.folder / "adam/model.safetensors");
  CHECK(model.entries().size() == 8);
  CHECK(model.at("conv1.weight").shape == std::vector<int64_t>{16, 1, 3, 3});
}
