// SPDX-License-Identifier: Apache-2.0
// A run that goes on from a checkpoint ends as one that was never interrupted: its parameters, its log, its summary.
#include <doctest/doctest.h>

#include <csignal>
#include <fstream>

#include "launch/interrupt.hpp"
#include "onebit/checkpoint.hpp"
#include "onebit/error.hpp"
#include "training/run_checkpoints.hpp"
#include "training_run.hpp"

using onebit::host::CheckpointPlan;
using onebit::test::Regression;
using onebit::test::train;
using onebit::test::training_configuration;
using onebit::test::TrainingRun;

namespace {

namespace fs = std::filesystem;

const std::string kSavedLoop = "epochs = 3\nbatch = 8\nlog_every = 5\nevaluate_every = 11\n";
const char* const kSavedOptimizers[] = {
    "\"adam\"", "\"onebit_adam\"\nfreeze_step = 10\n[compressor]\nplugin = \"onebit\"",
    // Syncs after 2, then 4 steps.
    "\"zeroone_adam\"\nvar_freeze_step = 10\nlocal_step_scaler = 8\nlocal_step_clipper = 4\n[compressor]\nplugin = \"onebit\""};

CheckpointPlan saving(const TrainingRun& run, int64_t every, bool resumes, bool async = false) {
  CheckpointPlan plan;
  plan.settings.folder = "checkpoints";
  plan.settings.every = every;
  plan.settings.async = async;
  plan.root = run.folder / "checkpoints";
  if (resumes) plan.resume = plan.root;
  return plan;
}

Regression::Hook breaks_at(int64_t step) {
  return [step](int64_t call, Regression&) {
    if (call == step) throw std::runtime_error("the model broke");
  };
}

// Without what no two runs have alike: times and speeds, and bytes of saving itself.
std::vector<nlohmann::json> comparable(const TrainingRun& run) {
  std::vector<nlohmann::json> lines = run.metrics();
  for (nlohmann::json& line : lines) {
    for (const char* key : {"seconds", "samples_per_second", "bytes_sent"}) line.erase(key);
    if (line.contains("timings"))
      for (nlohmann::json& stage : line["timings"]) stage = stage["steps"];
  }
  return lines;
}

void check_same_end(const TrainingRun& run, const TrainingRun& undisturbed) {
  CHECK(run.summary.parameter_hash == undisturbed.summary.parameter_hash);
  CHECK(comparable(run) == comparable(undisturbed));
  const nlohmann::json found = run.written(), expected = undisturbed.written();
  for (const char* key : {"status", "steps", "skipped_steps", "stage_steps", "final_test_loss", "final_test_accuracy",
                          "final_train_loss", "parameter_hash", "wire_bits_per_parameter"})
    CHECK_MESSAGE(found[key] == expected[key], std::string(key), ": ", found[key].dump(), " ", expected[key].dump());
  for (const char* stage : {"dense", "compressed"}) CHECK(found["bytes_sent"][stage] == expected["bytes_sent"][stage]);
  for (const char* stage : {"dense", "compressed", "local"})
    CHECK(found["timings"][stage]["steps"] == expected["timings"][stage]["steps"]);
  CHECK(contents_of(run.folder / "out/model.safetensors") == contents_of(undisturbed.folder / "out/model.safetensors"));
}

bool says(const TrainingRun& run, const std::string& part) { return run.told.str().find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a run that broke goes on from its last checkpoint and ends as one that did not break") {
  for (const char* optimizer : kSavedOptimizers)
    for (const bool async : {false, true}) {
      CAPTURE(optimizer);
      CAPTURE(async);
      const auto configuration = training_configuration(optimizer, kSavedLoop);
      TrainingRun undisturbed, run;
      train(undisturbed, 2, configuration);
      CHECK_THROWS_WITH(train(run, 2, configuration, breaks_at(41), 1, saving(run, 7, false, async)), "the model broke");
      CHECK_THROWS_WITH(train(run, 2, configuration, breaks_at(17), 0, saving(run, 7, true, async)), "the model broke");
      train(run, 2, configuration, {}, 0, saving(run, 7, true, async));
      CHECK(says(run, "checkpoints/step-000000"));
      check_same_end(run, undisturbed);
    }
}

TEST_CASE("a checkpoint after each step changes nothing, and so does one at an epoch's end") {
  const auto configuration = training_configuration(kSavedOptimizers[2], kSavedLoop);
  TrainingRun undisturbed;
  train(undisturbed, 2, configuration);
  for (const int64_t every : {1, 25}) {
    CAPTURE(every);
    TrainingRun run;
    CHECK_THROWS(train(run, 2, configuration, breaks_at(60), 0, saving(run, every, true, true)));
    train(run, 2, configuration, {}, 0, saving(run, every, true, true));
    check_same_end(run, undisturbed);
    CHECK(onebit::list_checkpoints(run.folder / "checkpoints").entries.size() == 2);  // checkpoint.keep
  }
}

TEST_CASE("told to stop, a run saves, and what goes on from there knows of no interruption") {
  // It stops where a line of the log and an evaluation are due.
  const auto configuration =
      training_configuration(kSavedOptimizers[2], "epochs = 3\nbatch = 8\nlog_every = 5\nevaluate_every = 5\n");
  TrainingRun undisturbed, run;
  train(undisturbed, 2, configuration);
  for (const int signal : {SIGINT, SIGTERM}) {
    const onebit::host::Interruptible interruptible;
    train(
        run, 2, configuration, [=](int64_t call, Regression&) { call == 7 ? static_cast<void>(std::raise(signal)) : void(); },
        1, saving(run, 0, signal == SIGTERM));
    CHECK(run.summary.signal == signal);
    CHECK(run.written()["status"] == "interrupted");
    CHECK(run.metrics().back()["status"] == "interrupted");
    CHECK(fs::exists(run.folder / "out/model.safetensors"));
  }
  train(run, 2, configuration, {}, 0, saving(run, 0, true));
  check_same_end(run, undisturbed);
}

TEST_CASE("a signal leaves no checkpoint where that is not wanted") {
  TrainingRun run;
  CheckpointPlan plan = saving(run, 0, false);
  plan.settings.on_signal = false;
  const onebit::host::Interruptible interruptible;
  train(
      run, 2, training_configuration(kSavedOptimizers[0], kSavedLoop),
      [](int64_t call, Regression&) { call == 7 ? static_cast<void>(std::raise(SIGTERM)) : void(); }, 0, plan);
  CHECK(run.written()["status"] == "interrupted");
  CHECK(onebit::list_checkpoints(plan.root).entries.empty());
}

TEST_CASE("a run that is complete goes on to the same end at once") {
  const auto configuration = training_configuration(kSavedOptimizers[1], kSavedLoop);
  TrainingRun run;
  train(run, 2, configuration, {}, 0, saving(run, 0, true));
  CHECK(says(run, "no checkpoint is there, so the run begins"));
  const nlohmann::json first = run.written();
  train(run, 2, configuration, breaks_at(1), 0, saving(run, 0, true));
  for (const char* key :
       {"status", "steps", "final_test_loss", "final_train_loss", "parameter_hash", "wire_bits_per_parameter"})
    CHECK_MESSAGE(run.written()[key] == first[key], std::string(key));
}

TEST_CASE("on another number of ranks a run goes on with the samples that its epoch has left") {
  const auto configuration = training_configuration(kSavedOptimizers[1], kSavedLoop);
  for (const int ranks : {1, 3}) {
    CAPTURE(ranks);
    TrainingRun run;
    CHECK_THROWS(train(run, 2, configuration, breaks_at(36), 0, saving(run, 35, false)));
    train(run, ranks, configuration, {}, 0, saving(run, 35, true));
    const int64_t left = (403 - 10 * 16) / (8 * ranks) + 403 / (8 * ranks);  // ten steps of the second epoch lie behind
    CHECK(run.summary.steps == 35 + left);
    CHECK(run.summary.ranks == ranks);
    REQUIRE(run.summary.final_test_accuracy);
    CHECK(*run.summary.final_test_accuracy > 0.9);
    CHECK(run.written()["status"] == "completed");
    CHECK(says(run, "goes on after step 35, saved by 2 ranks"));
  }
}

TEST_CASE("options of [train] that are others now are told with both values") {
  TrainingRun run;
  CHECK_THROWS(train(run, 2, training_configuration(kSavedOptimizers[0], "epochs = 3\nbatch = 8\n"), breaks_at(10), 0,
                     saving(run, 5, false)));
  train(run, 2, training_configuration(kSavedOptimizers[0], "epochs = 4\nbatch = 8\n"), {}, 0, saving(run, 5, true));
  CHECK_MESSAGE(says(run, "changed: train.epochs: 3 when it was saved, 4 now"), run.told.str());
  CHECK(run.summary.steps == 100);
}

TEST_CASE("checkpoints that can't be saved are a warning, or by option the end, and results are written in any case") {
  const auto configuration = training_configuration(kSavedOptimizers[0], kSavedLoop);
  TrainingRun undisturbed;
  train(undisturbed, 2, configuration);
  for (const bool ends : {false, true})
    for (const bool async : {false, true}) {
      CAPTURE(ends);
      CAPTURE(async);
      TrainingRun run;
      run.folder.file("checkpoints", "a file is in the way");
      CheckpointPlan plan = saving(run, 10, false, async);
      plan.settings.end_on_error = ends;
      if (ends) {
        CHECK_THROWS_WITH_AS(train(run, 2, configuration, {}, 0, plan), doctest::Contains("checkpoints"), onebit::Error);
        CHECK(run.written()["status"] == "failed");
        CHECK(run.written()["steps"] == 10);
      } else {
        train(run, 2, configuration, {}, 0, plan);
        CHECK(says(run, "warning: a checkpoint could not be saved: "));
        check_same_end(run, undisturbed);
      }
    }
}

TEST_CASE("when it is busy, by option, a checkpoint is left out, and the last one is saved all the same") {
  const auto configuration = training_configuration(kSavedOptimizers[1], kSavedLoop);
  TrainingRun undisturbed, run;
  train(undisturbed, 2, configuration);
  CheckpointPlan plan = saving(run, 1, false, true);
  plan.settings.skip_if_busy = true;
  train(run, 2, configuration, {}, 0, plan);
  check_same_end(run, undisturbed);
  CHECK(onebit::list_checkpoints(plan.root).latest == 75);
}

TEST_CASE("with the state ignored, another optimizer begins with the parameters of a checkpoint") {
  TrainingRun first, run;
  train(first, 2, training_configuration(kSavedOptimizers[0], kSavedLoop), {}, 0, saving(first, 0, false));
  CheckpointPlan plan = saving(run, 0, false);
  plan.resume = first.folder / "checkpoints";
  plan.ignore_state = true;
  const auto configuration = training_configuration(kSavedOptimizers[1], kSavedLoop);
  for (const int rank : {0, 1})
    train(
        run, 2, configuration,
        [&](int64_t call, Regression& model) { CHECK((call > 1 || model.weights() == first.model(0).weights())); }, rank, plan);
  CHECK_MESSAGE(says(run, ": the run begins with the parameters of step 75, saved by 2 ranks"), run.told.str());
  CHECK(says(run, "begins afresh: "));
  CHECK(!says(run, "changed: "));
  CHECK(run.summary.steps == 75);
  CHECK(run.metrics().front()["step"] == 5);
  CHECK(onebit::list_checkpoints(plan.root).latest == 75);
  plan.resume = run.folder / "none";
  CHECK_THROWS_WITH_AS(train(run, 2, configuration, {}, 0, plan), doctest::Contains("--ignore-state needs one"), onebit::Error);
}

TEST_CASE("a damaged checkpoint is not taken, but the one before it, and where all are damaged no run begins") {
  const auto configuration = training_configuration(kSavedOptimizers[1], kSavedLoop);
  TrainingRun undisturbed, run;
  train(undisturbed, 2, configuration);
  CHECK_THROWS(train(run, 2, configuration, breaks_at(41), 0, saving(run, 20, false)));
  const auto damage = [&](const char* name) {
    std::fstream file(run.folder / "checkpoints" / name / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5, std::ios::end);
    file.put('x');
  };
  damage("step-00000040");
  CHECK_THROWS(train(run, 2, configuration, breaks_at(5), 0, saving(run, 0, true)));
  CHECK_MESSAGE(says(run, "not taken: "), run.told.str());
  CHECK(says(run, "goes on after step 20"));
  damage("step-00000020");
  CHECK_THROWS_AS(train(run, 2, configuration, {}, 0, saving(run, 0, true)), onebit::Error);
  CHECK(run.written()["status"] == "failed");
}

TEST_CASE("what is asked of checkpoints must make sense") {
  const TrainingRun run;
  onebit::host::CheckpointSettings none, some;
  some.folder = "checkpoints";
  const fs::path out = run.folder.path();
  CHECK(onebit::host::plan_checkpoints(none, out, {}, false).root.empty());
  CHECK(onebit::host::plan_checkpoints(some, out, {}, false).root == out / "checkpoints");
  CHECK(!onebit::host::plan_checkpoints(some, out, {}, false).resume);
  CHECK(*onebit::host::plan_checkpoints(some, out, "", false).resume == out / "checkpoints");
  CHECK(*onebit::host::plan_checkpoints(none, out, "elsewhere", false).resume == "elsewhere");
  CHECK_THROWS_WITH_AS(onebit::host::plan_checkpoints(none, out, "", false), doctest::Contains("set checkpoint.folder"),
                       onebit::Error);
  CHECK_THROWS_WITH_AS(onebit::host::plan_checkpoints(some, out, {}, true), doctest::Contains("give --resume"), onebit::Error);
}

TEST_CASE("a run does not save among the checkpoints of another") {
  const TrainingRun run;
  onebit::host::CheckpointSettings settings;
  settings.folder = "c";
  const auto plan = [&](const std::optional<std::string>& resume, bool ignore = false) {
    return onebit::host::plan_checkpoints(settings, run.folder.path(), resume, ignore);
  };
  CHECK_NOTHROW(require_room(plan({})));
  fs::create_directories(run.folder / "c/step-00000007");
  CHECK_THROWS_WITH_AS(require_room(plan({})), doctest::Contains("go on from them with --resume"), onebit::Error);
  CHECK_NOTHROW(require_room(plan("")));
  CHECK_NOTHROW(require_room(plan((run.folder / "c/").string())));
  CHECK_NOTHROW(require_room(plan((run.folder / "c/step-00000007").string())));
  CHECK_THROWS_AS(require_room(plan((run.folder / "other").string())), onebit::Error);
  CHECK_THROWS_AS(require_room(plan("", true)), onebit::Error);
}
