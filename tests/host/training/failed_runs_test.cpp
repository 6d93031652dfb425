// SPDX-License-Identifier: Apache-2.0
// A run that failed never looks like one that did not: its summary, its metrics, what it says, and what an earlier run left.
#include <doctest/doctest.h>

#include <fstream>

#include "onebit/error.hpp"
#include "training/run_folder.hpp"
#include "training_run.hpp"

using onebit::test::Regression;
using onebit::test::train;
using onebit::test::training_configuration;
using onebit::test::TrainingRun;

namespace {

namespace fs = std::filesystem;

constexpr int64_t kAllSteps = 75;

onebit::Configuration dense_training(const std::string& session = "") {
  return training_configuration("\"adam\"", "epochs = 3\nbatch = 8\nlog_every = 5\n", session);
}

// The reason in the summary of a run that failed, of which nothing looks like a result.
std::string reason_of_failure(const TrainingRun& run) {
  const nlohmann::json written = run.written();
  CHECK(written["status"] == "failed");
  CHECK(written["interrupted"] == false);
  for (const char* figure : {"final_test_loss", "final_test_accuracy", "final_train_loss"})
    CHECK_MESSAGE(written[figure].is_null(), std::string(figure));
  CHECK(run.metrics().back()["status"] == "failed");
  CHECK(run.metrics().back()["reason"] == written["reason"]);
  CHECK(run.told.str().find("summary.json: failed") != std::string::npos);
  CHECK(run.told.str().find("completed") == std::string::npos);
  return written["reason"];
}

Regression::Hook spoilt(const std::function<bool(int64_t step)>& when) {
  return [when](int64_t call, Regression& model) { when(call) ? model.spoil() : void(); };
}

}  // namespace

TEST_CASE("a run whose last step was skipped has failed") {
  TrainingRun run;
  train(run, 2, dense_training(), spoilt([](int64_t step) { return step == 3 || step == kAllSteps; }), 1);
  CHECK(run.summary.ending == onebit::host::Ending::failed);
  CHECK(reason_of_failure(run) == "2 of 75 steps were skipped, the last one among them");
  CHECK(run.written()["skipped_steps"] == 2);
  CHECK(run.written()["steps"] == 73);
}

TEST_CASE("a run of which more than half of the steps were skipped has failed, and one of which fewer were has not") {
  TrainingRun less, more;
  train(less, 2, dense_training(), spoilt([](int64_t step) { return step % 2 == 1 && step < kAllSteps; }));
  CHECK(less.summary.ending == onebit::host::Ending::completed);  // 37 of 75
  train(more, 2, dense_training(), spoilt([](int64_t step) { return step == 2 || (step % 2 == 1 && step < kAllSteps); }));
  CHECK(reason_of_failure(more) == "38 of 75 steps were skipped");
}

TEST_CASE("when every gradient is spoilt the run ends with an error, unless there is no limit, and has failed in both cases") {
  TrainingRun run, endless;
  const auto always = spoilt([](int64_t) { return true; });
  CHECK_THROWS_WITH_AS(train(run, 2, dense_training(), always, 1), doctest::Contains("20 steps in a row were skipped"),
                       onebit::Error);
  CHECK(reason_of_failure(run).find("the gradient of 'weights' on rank 1 is not finite") != std::string::npos);
  CHECK(run.written()["skipped_steps"] == 19);  // what it told last
  train(endless, 2, dense_training("max_skipped = 0\n"), always, 1);
  CHECK(endless.summary.steps == 0);
  CHECK(reason_of_failure(endless) == "75 of 75 steps were skipped, the last one among them");
}

TEST_CASE("a run whose loss on the test set is not finite has failed") {
  TrainingRun run;
  train(run, 1, dense_training(), [](int64_t call, Regression& model) { call == 3 * (403 / 8) ? model.lose() : void(); });
  CHECK(reason_of_failure(run) == "the loss on the test set is not finite");
}

TEST_CASE("what a model throws is the reason, on whichever rank it was thrown, and whatever it is") {
  for (const int rank : {0, 1}) {
    TrainingRun run, other;
    const auto fail = [](int64_t call, Regression&) {
      if (call == 8) throw std::runtime_error("the model broke");
    };
    CHECK_THROWS_WITH(train(run, 2, dense_training(), fail, rank), "the model broke");
    CHECK(reason_of_failure(run) == "the model broke");
    CHECK(run.written()["steps"] == 7);
    CHECK(run.written()["train_seconds"].get<double>() > 0);
    CHECK(run.written()["parameter_hash"].is_null());
    const auto fail_otherwise = [](int64_t call, Regression&) {
      if (call == 8) throw 7;
    };
    CHECK_THROWS_AS(train(other, 2, dense_training(), fail_otherwise, rank), int);
    reason_of_failure(other);
  }
}

TEST_CASE("a run that fails in a folder of an earlier one leaves no summary that is not its own") {
  TrainingRun run;
  train(run, 2, dense_training());
  const std::string before = contents_of(run.folder / "out/summary.json");
  run.told.str("");
  const auto fail = [&](int64_t call, Regression&) {
    if (call != 2) return;
    CHECK(!fs::exists(run.folder / "out/summary.json"));  // as a process that is killed here would leave it
    throw std::runtime_error("the model broke");
  };
  CHECK_THROWS(train(run, 2, dense_training(), fail));
  CHECK(reason_of_failure(run) == "the model broke");
  CHECK(contents_of(run.folder / "out/summary.previous.json") == before);
  run.told.str("");
  train(run, 2, dense_training());
  CHECK(run.written()["status"] == "completed");
  CHECK(run.metrics().back()["status"] == "completed");
}

TEST_CASE("two runs can't write to one folder at the same time: the second is refused, and leaves the first alone") {
  TrainingRun run;
  const fs::path out = run.folder / "out";
  const auto second = [&](int64_t call, Regression&) {
    if (call != 10) return;
    TrainingRun other;
    fs::create_directory_symlink(out, other.folder / "out");
    const std::string metrics = contents_of(out / "metrics.jsonl");
    CHECK_THROWS_WITH_AS(train(other, 1, dense_training()), doctest::Contains("another run is writing its results there"),
                         onebit::Error);
    CHECK_THROWS_AS(onebit::host::RunFolder(out).put_aside(), onebit::Error);
    CHECK(contents_of(out / "metrics.jsonl") == metrics);
    CHECK(!fs::exists(out / "summary.json"));
  };
  train(run, 2, dense_training(), second);
  CHECK(run.written()["status"] == "completed");
}

TEST_CASE("results that can't be written are an error with the reason, and no result") {
  SUBCASE("the folder can't be made") {
    TrainingRun run;
    run.folder.file("out", "a file");
    CHECK_THROWS_WITH(train(run, 2, dense_training()),
                      ((run.folder / "out").string() + ": cannot be made: Not a directory").c_str());
  }
  SUBCASE("metrics.jsonl is on a full disk") {
    TrainingRun run;
    fs::create_directory(run.folder / "out");
    fs::create_symlink("/dev/full", run.folder / "out/metrics.jsonl");
    CHECK_THROWS_WITH(train(run, 2, dense_training()),
                      ((run.folder / "out/metrics.jsonl").string() + ": cannot be written: No space left on device").c_str());
    CHECK(run.written()["status"] == "failed");
  }
  SUBCASE("the summary, at the end") {
    TrainingRun run;
    const auto in_the_way = [&](int64_t call, Regression&) {
      if (call == kAllSteps) fs::create_directories(run.folder / "out/summary.json/in the way");
    };
    CHECK_THROWS_WITH(train(run, 2, dense_training(), in_the_way),
                      doctest::Contains(((run.folder / "out/summary.json").string() + ": cannot be written: ").c_str()));
    for (const nlohmann::json& line : run.metrics()) CHECK(!line.contains("status"));
    CHECK(!fs::exists(run.folder / "out/summary.json.tmp"));
  }
}

TEST_CASE("the header tells the samples in use, and of how many") {
  TrainingRun all, some;
  train(all, 2, dense_training());
  CHECK(all.told.str().find("(403 samples), 2 ranks") != std::string::npos);
  train(some, 2, training_configuration("\"adam\"", "epochs = 1\nbatch = 8\nsamples = 64\n"));
  CHECK(some.told.str().find("(64 of 403 samples), 2 ranks") != std::string::npos);
}

TEST_CASE("a run in which no tensor could be compressed says so, and does not speak of a compressed stage") {
  TrainingRun run;
  train(run, 2,
        training_configuration("\"onebit_adam\"\nfreeze_step = 10\ndense = [\"*\"]\n[compressor]\nplugin = \"onebit\"",
                               "epochs = 1\nbatch = 8\nlog_every = 5\n"));
  CHECK(run.told.str().find("nothing was compressed: each tensor is exempt (optimizer.dense)") != std::string::npos);
  CHECK(run.told.str().find("  compressed  ") == std::string::npos);
  const nlohmann::json written = run.written();
  CHECK(written["compressed_parameters"] == 0);
  CHECK(written["stage_steps"]["compressed"] == 0);
  CHECK(written["stage_steps"]["dense"] == written["steps"]);
  CHECK(written["bytes_sent"]["compressed"] == 0);
  CHECK(written["wire_bits_per_parameter"]["compressed"].is_null());
}
