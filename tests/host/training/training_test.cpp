// SPDX-License-Identifier: Apache-2.0
// The training loop, on a model that needs no libtorch: softmax regression.
#include "training/training.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "launch/interrupt.hpp"
#include "training_run.hpp"

using onebit::test::Regression;
using onebit::test::train;
using onebit::test::training_configuration;
using onebit::test::TrainingRun;
using namespace onebit::host;  // NOLINT(google-build-using-namespace): the room under test

namespace {

const std::string kAdam = "\"adam\"";
const std::string kOneBitAdam = "\"onebit_adam\"\nfreeze_step = 10\n[compressor]\nplugin = \"onebit\"";
// Syncs after 2, then 4 steps.
const std::string kLocalAdam =
    "\"zeroone_adam\"\nvar_freeze_step = 10\nlocal_step_scaler = 8\nlocal_step_clipper = 4\n[compressor]\nplugin = \"onebit\"";
const std::string kTrain = "epochs = 3\nbatch = 8\nlog_every = 5\n";

const onebit::Configuration& configuration(bool compressed) {
  static const onebit::Configuration dense = training_configuration(kAdam, kTrain),
                                     one_bit = training_configuration(kOneBitAdam, kTrain);
  return compressed ? one_bit : dense;
}

void train(TrainingRun& run, int ranks, bool compressed, const Regression::Hook& hook = {}, int hook_rank = 0) {
  train(run, ranks, configuration(compressed), hook, hook_rank);
}

uint64_t hash_after(const std::string& optimizer, const std::string& settings) {
  TrainingRun run;
  train(run, 2, training_configuration(optimizer, settings));
  return run.summary.parameter_hash;
}

}  // namespace

TEST_CASE("a model learns, dense and compressed, on any number of ranks") {
  for (const bool compressed : {false, true})
    for (const int ranks : {1, 2, 3}) {
      CAPTURE(compressed);
      CAPTURE(ranks);
      TrainingRun run;
      train(run, ranks, compressed);
      REQUIRE(run.summary.final_test_accuracy);
      CHECK(*run.summary.final_test_accuracy > 0.9);
      CHECK(*run.summary.final_test_loss < 1);
      CHECK(*run.summary.final_train_loss < 1);
      CHECK(run.summary.steps == 3 * (403 / (8 * ranks)));
      CHECK(run.summary.parameters == Regression::kElements);
      CHECK(run.summary.ranks == ranks);
      const onebit::Traffic& t = run.summary.traffic;
      CHECK(t.compressed_steps == (compressed ? run.summary.steps - 10 : 0));
      if (ranks == 1) CHECK(t.total() == 0);
      CHECK(run.summary.last.frozen_at == (compressed ? 10 : 0));
      const auto written = nlohmann::json::parse(contents_of(run.folder / "out/summary.json"));
      CHECK(written["config"] == "test");
      CHECK(written["ranks"] == ranks);
      CHECK(written["machines"] == 1);
      CHECK(written["freeze_step"] == (compressed ? nlohmann::json(10) : nlohmann::json()));
      CHECK(written["unseen_elements"].is_number() == compressed);
      CHECK(written["clamped_share"].is_number() == compressed);
    }
}

TEST_CASE("the time of a step is told by stage, and is that of its parts") {
  TrainingRun run;
  train(run, 2, true);
  const Summary& s = run.summary;
  CHECK(s.timings.dense.steps == s.traffic.dense_steps);
  CHECK(s.timings.compressed.steps == s.traffic.compressed_steps);
  double all = 0;
  for (const StageTimings* stage : {&s.timings.dense, &s.timings.compressed}) {
    CHECK(stage->compute > 0);
    for (const double part : {stage->session.scan, stage->session.send, stage->session.receive, stage->session.wait})
      CHECK(part > 0);
    CHECK(stage->compute + stage->codec() + stage->session.wait <= stage->step);
    all += stage->step;
  }
  CHECK(all <= s.train_seconds);
  const auto written = nlohmann::json::parse(to_json(s))["timings"];
  CHECK(written["dense"]["steps"] == 10);
  CHECK(written["compressed"]["step"].get<double>() == s.timings.compressed.step);
  CHECK(written["compressed"]["compute"].get<double>() == s.timings.compressed.compute);
}

TEST_CASE("two runs end with the same bits") {
  TrainingRun first, second;
  train(first, 2, true);
  train(second, 2, true);
  CHECK(first.summary.parameter_hash == second.summary.parameter_hash);
}

TEST_CASE("the log has its lines, for people and for programs") {
  TrainingRun run;
  train(run, 2, true);
  std::istringstream lines(contents_of(run.folder / "out/metrics.jsonl"));
  std::string line;
  std::vector<int64_t> steps;
  int64_t epochs = 0;
  std::set<std::string> stages;
  double bytes = 0;
  while (std::getline(lines, line)) {
    const auto entry = nlohmann::json::parse(line);
    if (entry.contains("status")) {
      CHECK(entry["status"] == "completed");
      CHECK(entry["step"] == 75);
      continue;
    }
    if (entry.contains("test_accuracy")) {
      CHECK(entry["epoch"] == ++epochs);
      continue;
    }
    steps.push_back(entry["step"]);
    stages.insert(entry["stage"]);
    CHECK(entry["loss"].get<double>() > 0);
    CHECK(entry["samples_per_second"].get<double>() > 0);
    CHECK(entry["bytes_sent"].get<double>() > bytes);
    bytes = entry["bytes_sent"];
    const auto& timings = entry["timings"];
    CHECK(timings["dense"]["steps"].get<int64_t>() + timings["compressed"]["steps"].get<int64_t>() == steps.back());
    CHECK(timings[entry["stage"].get<std::string>()]["step"].get<double>() > 0);
  }
  CHECK(epochs == 3);
  CHECK(steps == std::vector<int64_t>{5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75});
  CHECK(stages == std::set<std::string>{"dense", "compressed"});
  CHECK(run.told.str().find("epoch 1/3  step 5/75  loss ") != std::string::npos);
  CHECK(run.told.str().find("epoch 3/3 done") != std::string::npos);
}

TEST_CASE("a run in which nothing was compressed says so, and what to do") {
  const std::string never = "\"onebit_adam\"\nfreeze_step = 1000\n[compressor]\nplugin = \"onebit\"";
  for (const std::string& optimizer : {kAdam, kOneBitAdam, never}) {
    CAPTURE(optimizer);
    TrainingRun run;
    train(run, 2, training_configuration(optimizer, kTrain));
    const std::string told = "nothing was compressed: optimizer onebit_adam stayed in its dense stage for all 75 steps";
    CHECK((run.told.str().find(told) != std::string::npos) == (optimizer == never));
  }
}

TEST_CASE("evaluations come when they are due, and after each epoch, and change nothing") {
  for (const std::string& optimizer : {kAdam, kOneBitAdam, kLocalAdam}) {
    CAPTURE(optimizer);
    TrainingRun often;
    train(often, 2, training_configuration(optimizer, kTrain + "evaluate_every = 11\n"));
    std::vector<int64_t> steps, epochs;
    for (const auto& line : often.evaluations()) {
      steps.push_back(line["step"]);
      epochs.push_back(line["epoch"]);
      CHECK(line.contains("epoch_loss") == (steps.back() % 25 == 0));
      CHECK(line["test_accuracy"].get<double>() > 0);
      CHECK(line["bytes_sent"].get<double>() > 0);
      CHECK(line["seconds"].get<double>() > 0);
    }
    CHECK(steps == std::vector<int64_t>{11, 22, 25, 33, 44, 50, 55, 66, 75});
    CHECK(epochs == std::vector<int64_t>{1, 1, 1, 2, 2, 2, 3, 3, 3});
    CHECK(often.evaluations().back()["test_loss"] == *often.summary.final_test_loss);
    CHECK(often.told.str().find("epoch 2/3  step 44/75  test loss ") != std::string::npos);
    CHECK(often.summary.parameter_hash == hash_after(optimizer, kTrain));
  }
}

TEST_CASE("with local steps, what is evaluated and what is left at the end are the parameters that all ranks share") {
  TrainingRun run;
  train(run, 2, training_configuration(kLocalAdam, kTrain + "evaluate_every = 1\n"));
  CHECK(run.summary.timings.local.steps > 20);
  CHECK(run.summary.timings.local.steps == run.summary.traffic.local_steps);
  CHECK(nlohmann::json::parse(to_json(run.summary))["timings"]["local"]["compute"].get<double>() > 0);
  CHECK(run.told.str().find("  local  ETA ") != std::string::npos);
  CHECK(run.model(0).judged().size() == 75);
  CHECK(run.model(1).judged().empty());  // all that there is to test with is one batch
  const std::vector<double>& judged = run.model(0).judged();
  const size_t local = static_cast<size_t>(run.summary.traffic.local_steps);
  CHECK(std::set<double>(judged.begin(), judged.end()).size() <= 75 - local);  // local steps change nothing that is judged
  CHECK(run.model(0).weights() == run.model(1).weights());                     // the last step brings them together
  CHECK(*run.summary.final_test_accuracy > 0.9);
}

TEST_CASE("two micro-batches a step train as one batch of both does") {
  TrainingRun two, one;
  train(two, 2, training_configuration(kAdam, "epochs = 3\nbatch = 8\naccumulate = 2"));
  train(one, 2, training_configuration(kAdam, "epochs = 3\nbatch = 16"));
  CHECK(two.summary.steps == 3 * (403 / 32));
  CHECK(*two.summary.final_train_loss == doctest::Approx(*one.summary.final_train_loss).epsilon(1e-5));
  double worst = 0, most = 0;
  for (size_t i = 0; i < one.model(0).weights().size(); ++i) {
    worst = std::max<double>(worst, std::fabs(two.model(0).weights()[i] - one.model(0).weights()[i]));
    most = std::max<double>(most, std::fabs(one.model(0).weights()[i]));
  }
  CHECK(most > 0.01);
  CHECK(worst < 1e-5);
}

TEST_CASE("label smoothing is handed to every rank's model") {
  TrainingRun run;
  train(run, 2, training_configuration(kAdam, "label_smoothing = 0.125\nepochs = 1\n"));
  for (const size_t rank : {0U, 1U}) CHECK(run.model(rank).label_smoothing() == 0.125);
}

TEST_CASE("the learning rate follows its schedule") {
  const std::string one_step = "batch = 8\nsamples = 16\nepochs = ";  // an epoch
  const uint64_t once = hash_after(kAdam, one_step + "1\nschedule = \"constant\"");
  CHECK(hash_after(kAdam, one_step + "3\nschedule = \"exponential\"\ndecay_steps = 1\ndecay_factor = 0.0") == once);
  CHECK(hash_after(kAdam, one_step + "3\nschedule = \"constant\"") != once);
  CHECK(hash_after(kAdam, one_step + "1\nschedule = \"constant\"\nwarmup_steps = 2") != once);
}

TEST_CASE("a step with a gradient that is not finite is skipped on all ranks, and its loss not counted") {
  TrainingRun run;
  train(
      run, 2, false, [](int64_t call, Regression& model) { call == 3 ? model.spoil() : void(); }, 1);
  CHECK(run.summary.traffic.skipped_steps == 1);
  CHECK(run.summary.timings.dense.steps == 74);
  CHECK(run.summary.steps == 74);
  CHECK(std::isfinite(*run.summary.final_train_loss));
}

TEST_CASE("a model that fails on one rank ends the run with its own error") {
  for (const int rank : {0, 1}) {
    TrainingRun run;
    const auto fail = [](int64_t call, Regression&) {
      if (call == 5) throw std::runtime_error("the model broke");
    };
    CHECK_THROWS_WITH(train(run, 2, true, fail, rank), "the model broke");
  }
}

TEST_CASE("Ctrl-C ends the run soon, on all ranks after the same step, and so does SIGTERM") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Interruptible interruptible;
    TrainingRun run;
    train(
        run, 2, true, [=](int64_t call, Regression&) { call == 7 ? static_cast<void>(std::raise(signal)) : void(); }, 1);
    CHECK(run.summary.ending == Ending::interrupted);
    CHECK(run.summary.signal == signal);
    CHECK(run.summary.steps >= 7);
    CHECK(run.summary.steps <= 10);  // with the next line of the log at the latest
    CHECK(!run.summary.final_test_accuracy);
    const nlohmann::json written = run.written();
    CHECK(written["status"] == "interrupted");
    CHECK(written["interrupted"] == true);
    CHECK(written["reason"] == (signal == SIGINT ? "SIGINT" : "SIGTERM"));
    CHECK(run.metrics().back()["status"] == "interrupted");
    CHECK(run.told.str().find("summary.json: interrupted (SIG") != std::string::npos);
  }
}
