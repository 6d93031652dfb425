// SPDX-License-Identifier: Apache-2.0
// Evaluating: the loss of text by bands of its targets and of its inputs.
#include "training/evaluation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "data_sets/text.hpp"
#include "support/sessions.hpp"
#include "training/run_place.hpp"

using namespace onebit::host;  // NOLINT(google-build-using-namespace): the room under test

namespace {

// Whose loss is 1 for each small letter to foretell, 3 for each capital one.
class Reader final : public Model {
 public:
  std::vector<onebit::Parameter> parameters() override { return {}; }
  void set_label_smoothing(double) override {}
  double learn(const Batch&, bool, bool) override { return 0; }
  std::vector<const float*> gradients() override { return {}; }
  Judgement judge(const Batch& batch) override {
    Judgement judgement;
    for (int64_t i = 0; i < batch.count * batch.answers; ++i) {
      judgement.losses.push_back(batch.targets[i] == symbol_of('A') ? 3.0F : 1.0F);
      judgement.loss += static_cast<double>(judgement.losses.back());
    }
    largest = std::max(largest, batch.count);
    samples += batch.count;
    return judgement;
  }
  std::string backend() const override { return "test"; }
  int64_t largest = 0, samples = 0;  // batch; of all batches
};

}  // namespace

TEST_CASE("a loss by bands: of what is to be foretold, and of what it comes after") {
  // Of four characters in the part to test with one is a capital letter, which has a small one after it.
  std::string text;
  while (text.size() < 64 * 4000) text += "Aaaa";
  Reader model;
  const TestResult result = evaluate_alone(late_text_data(text, "text"), model);
  CHECK(result.loss == doctest::Approx(1.5));
  CHECK(!result.accuracy);
  CHECK(result.by_target.at("late") == 3);
  CHECK(result.by_target.at("others") == 1);
  CHECK(result.by_input.at("late") == 1);
  CHECK(result.by_input.at("others") == doctest::Approx(5.0 / 3));
  CHECK(model.largest == 8);  // samples
}

TEST_CASE("ranks share the batches, and find what one rank finds") {
  std::string text;
  while (text.size() < 64 * 4000) text += "Aaaaaa";
  const DataSet data = late_text_data(text, "text");
  Reader alone;
  const TestResult expected = evaluate_alone(data, alone);
  for (const int ranks : {1, 2, 3}) {
    CAPTURE(ranks);
    std::vector<Reader> models(static_cast<size_t>(ranks));
    std::vector<TestResult> found(static_cast<size_t>(ranks));
    onebit::test::run_sessions(ranks, "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n", {{1.0F}},
                               [&](onebit::test::Rank rank) {
                                 const auto place = static_cast<size_t>(rank.number);
                                 found[place] = Evaluation(data, models[place], rank.session).run();
                               });
    int64_t judged = 0;
    for (size_t rank = 0; rank < found.size(); ++rank) {
      CHECK(found[rank].loss == doctest::Approx(expected.loss).epsilon(1e-12));
      CHECK(found[rank].by_target == expected.by_target);
      CHECK(found[rank].by_input.at("others") == doctest::Approx(expected.by_input.at("others")).epsilon(1e-12));
      CHECK(std::abs(models[rank].samples - data.test->count() / ranks) <= 8);
      judged += models[rank].samples;
    }
    CHECK(judged == data.test->count());
  }
}

TEST_CASE("without bands, and for bands that are not met, no loss is told") {
  Reader model;
  CHECK(evaluate_alone(text_data(std::string(64 * 20, 'a'), "text"), model).by_target.empty());
  const TestResult small = evaluate_alone(late_text_data(std::string(64 * 20, 'a'), "text"), model);
  CHECK(small.by_target == LossByBand{{"others", 1}});
}

TEST_CASE("a place keeps the losses by bands") {
  RunPlace place;
  place.test = TestResult{1, std::nullopt, {{"late", 3}}, {{"others", 0.5}}};
  const RunPlace back = run_place_of(text_of(place));
  REQUIRE(back.test);
  CHECK(back.test->by_target == place.test->by_target);
  CHECK(back.test->by_input == place.test->by_input);
}
