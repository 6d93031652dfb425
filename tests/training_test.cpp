// The training loop, on a model that needs no libtorch: softmax regression.
#include "training.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "data_sets.hpp"
#include "interrupt.hpp"
#include "onebit/error.hpp"
#include "random.hpp"
#include "rank_training.hpp"
#include "scratch_folder.hpp"
#include "sessions.hpp"
#include "small_data_set.hpp"

using namespace onebit::host;  // NOLINT(google-build-using-namespace): the room under test

namespace {

constexpr int64_t kPixels = 28 * 28, kClasses = 10;

// Ten linear scores, softmax and cross entropy; `before_learning` may spoil things.
class Regression : public Model {
 public:
  using Hook = std::function<void(int64_t call, Regression& model)>;
  explicit Regression(Hook hook) : weights_(kPixels * kClasses), gradient_(kPixels * kClasses), hook_(std::move(hook)) {}

  std::vector<onebit::Parameter> parameters() override { return {{"weights", {kClasses, kPixels}, weights_.data()}}; }
  double learn(const Batch& batch, bool add) override {
    if (!add) std::fill(gradient_.begin(), gradient_.end(), 0.0f);
    double loss = 0;
    for (int64_t i = 0; i < batch.count; ++i) {
      std::vector<double> p = probabilities(batch, i);
      loss -= std::log(std::max(p[batch.targets[i]], 1e-30));
      p[batch.targets[i]] -= 1;
      for (int64_t c = 0; c < kClasses; ++c)
        for (int64_t x = 0; x < kPixels; ++x)
          gradient_[c * kPixels + x] += static_cast<float>(p[c] * pixel(batch, i, x) / batch.count);
    }
    if (hook_) hook_(++calls_, *this);
    return loss / batch.count;
  }
  std::vector<const float*> gradients() override { return {gradient_.data()}; }
  Judgement judge(const Batch& batch) override {
    Judgement sums;
    for (int64_t i = 0; i < batch.count; ++i) {
      const std::vector<double> p = probabilities(batch, i);
      sums.loss -= std::log(std::max(p[batch.targets[i]], 1e-30));
      sums.correct += std::max_element(p.begin(), p.end()) - p.begin() == batch.targets[i];
    }
    return sums;
  }
  std::string backend() const override { return "test"; }
  void spoil() { gradient_[5] = std::numeric_limits<float>::quiet_NaN(); }

 private:
  static double pixel(const Batch& batch, int64_t i, int64_t x) { return batch.pixels[i * kPixels + x]; }
  std::vector<double> probabilities(const Batch& batch, int64_t i) const {
    std::vector<double> scores(kClasses);
    for (int64_t c = 0; c < kClasses; ++c)
      for (int64_t x = 0; x < kPixels; ++x) scores[c] += weights_[c * kPixels + x] * pixel(batch, i, x);
    const double most = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& s : scores) sum += s = std::exp(s - most);
    for (double& s : scores) s /= sum;
    return scores;
  }
  std::vector<float> weights_, gradient_;
  Hook hook_;
  int64_t calls_ = 0;
};

struct Run {
  ScratchFolder folder;
  std::ostringstream told;
  Summary summary;
};

const onebit::Configuration& configuration(bool compressed) {
  static const auto make = [](const std::string& text) {
    return onebit::Configuration(onebit::test::plugins(), onebit::Manifest::parse(text, "test.toml", "."), train_schema());
  };
  static const std::string train = "[train]\nepochs = 3\nbatch = 8\nlog_every = 5\n[communicator]\nplugin = \"threads\"\n";
  static const onebit::Configuration dense = make("[optimizer]\nplugin = \"adam\"\n" + train);
  static const onebit::Configuration one_bit =
      make("[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 10\n[compressor]\nplugin = \"onebit\"\n" + train);
  return compressed ? one_bit : dense;
}

// hook_rank: whose model gets the hook.
void train(Run& run, int ranks, bool compressed, const Regression::Hook& hook = {}, int hook_rank = 0) {
  const DataSet data = image_data(onebit::test::small_images(403, 1), onebit::test::small_images(101, 2));
  const TrainSettings settings(configuration(compressed));
  Progress progress(run.told, 0);
  TrainLog log(progress, run.folder / "out");
  Models models;
  for (int rank = 0; rank < ranks; ++rank)
    models.push_back(std::make_unique<Regression>(rank == hook_rank ? hook : Regression::Hook()));
  run.summary = run_training({"test", onebit::test::plugins(), configuration(compressed), settings, data},
                             Ranks::threads(ranks), models, log);
}

}  // namespace

TEST_CASE("a model learns, dense and compressed, on any number of ranks") {
  for (const bool compressed : {false, true})
    for (const int ranks : {1, 2, 3}) {
      CAPTURE(compressed);
      CAPTURE(ranks);
      Run run;
      train(run, ranks, compressed);
      REQUIRE(run.summary.final_test_accuracy);
      CHECK(*run.summary.final_test_accuracy > 0.9);
      CHECK(*run.summary.final_test_loss < 1);
      CHECK(*run.summary.final_train_loss < 1);
      CHECK(run.summary.steps == 3 * (403 / (8 * ranks)));
      CHECK(run.summary.parameters == kPixels * kClasses);
      CHECK(run.summary.ranks == ranks);
      const onebit::Traffic& t = run.summary.traffic;
      CHECK(t.compressed_steps == (compressed ? run.summary.steps - 10 : 0));
      if (ranks == 1) CHECK(t.total() == 0);
      const auto written = nlohmann::json::parse(contents_of(run.folder / "out/summary.json"));
      CHECK(written["config"] == "test");
      CHECK(written["ranks"] == ranks);
      CHECK(written["machines"] == 1);
    }
}

TEST_CASE("the time of a step is told by stage, and is that of its parts") {
  Run run;
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
  Run first, second;
  train(first, 2, true);
  train(second, 2, true);
  CHECK(first.summary.parameter_hash == second.summary.parameter_hash);
}

TEST_CASE("the log has its lines, for people and for programs") {
  Run run;
  train(run, 2, true);
  std::istringstream lines(contents_of(run.folder / "out/metrics.jsonl"));
  std::string line;
  std::vector<int64_t> steps;
  int64_t epochs = 0;
  std::set<std::string> stages;
  double bytes = 0;
  while (std::getline(lines, line)) {
    const auto entry = nlohmann::json::parse(line);
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

TEST_CASE("a step with a gradient that is not finite is skipped on all ranks, and its loss not counted") {
  Run run;
  train(
      run, 2, false, [](int64_t call, Regression& model) { call == 3 ? model.spoil() : void(); }, 1);
  CHECK(run.summary.traffic.skipped_steps == 1);
  CHECK(run.summary.timings.dense.steps == 74);
  CHECK(run.summary.steps == 74);
  CHECK(std::isfinite(*run.summary.final_train_loss));
}

TEST_CASE("when every gradient is spoilt nothing is learnt, and said so") {
  Run run;
  train(run, 2, false, [](int64_t, Regression& model) { model.spoil(); });
  CHECK(run.summary.steps == 0);
  CHECK(!run.summary.final_train_loss);
  CHECK(nlohmann::json::parse(to_json(run.summary))["final_train_loss"].is_null());
}

TEST_CASE("a model that fails on one rank ends the run with its own error") {
  for (const int rank : {0, 1}) {
    Run run;
    const auto fail = [](int64_t call, Regression&) {
      if (call == 5) throw std::runtime_error("the model broke");
    };
    CHECK_THROWS_WITH(train(run, 2, true, fail, rank), "the model broke");
  }
}

TEST_CASE("Ctrl-C ends the run soon, on all ranks after the same step") {
  const Interruptible interruptible;
  Run run;
  train(
      run, 2, true, [](int64_t call, Regression&) { call == 7 ? static_cast<void>(std::raise(SIGINT)) : void(); }, 1);
  CHECK(run.summary.interrupted);
  CHECK(run.summary.steps >= 7);
  CHECK(run.summary.steps <= 10);  // with the next line of the log at the latest
  CHECK(!run.summary.final_test_accuracy);
  CHECK(nlohmann::json::parse(to_json(run.summary))["interrupted"] == true);
}

TEST_CASE("too few samples for a step") {
  TrainSettings settings(configuration(false));
  CHECK_THROWS_WITH_AS(Dealing(settings, 15, 2),
                       doctest::Contains("train.batch = 8 on 2 ranks takes 16 samples a step, but there are 15"),
                       onebit::Error);
  settings.samples = 16;
  CHECK_THROWS_WITH_AS(Dealing(settings, 15, 2), doctest::Contains("train.samples = 16, but the training set has 15"),
                       onebit::Error);
}

TEST_CASE("shuffling is a permutation, the same for a seed on every machine") {
  const auto order = shuffled(1000, Random(1, 2));
  CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 1000);
  CHECK(order != shuffled(1000, Random(1, 3)));
  CHECK(order != shuffled(1000, Random(2, 2)));
  CHECK(shuffled(6, Random(7)) == std::vector<int64_t>{4, 0, 1, 2, 3, 5});
  CHECK(shuffled(0, Random(7)).empty());
}
