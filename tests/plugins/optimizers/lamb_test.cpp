// SPDX-License-Identifier: Apache-2.0
// The optimizers `lamb` and `onebit_lamb`, call by call, against an oracle in double written from their formulas.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "arithmetic.hpp"
#include "lamb_oracle.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"
#include "signs.hpp"
#include "support/component.hpp"
#include "support/gradients.hpp"

namespace onebit::test {
namespace {

using Tensors = std::vector<Vector>;
constexpr double kRate = 1e-2;

struct Case {
  std::string lines;
  bool update = true, corrected = true;
  double decay = 0, max_coeff = 10, floor = 0.01, clamp = std::sqrt(1000);

  LambOracle oracle(const Tensors& from) const {
    LambOracle made(from);
    made.lr = kRate;
    made.update = update;
    made.corrected = corrected;
    made.decay = decay;
    made.max_coeff = max_coeff;
    made.floor = floor;
    made.clamp = clamp;
    made.scale = 0.5;
    made.grows = lines.find("frozen") == std::string::npos;
    return made;
  }
  void prepare(TileHost& host) const {
    host.gradient_scale = 0.5F;
    for (Group& group : host.groups) group = {kRate, decay};
  }
};

}  // namespace

TEST_CASE("lamb: against the formulas, with a tensor of zeros and one without gradient") {
  const std::vector<size_t> sizes = {1, 33, 4096 + 50, 40, 40};
  const Case cases[] = {{},
                        {"bias_correction = false", true, false, 0.1},
                        {"max_coeff = 0.3\nmin_coeff = 0.2", true, true, 0.01, 0.3},
                        {"max_coeff = 1.0", true, true, 0, 1}};
  for (const Case& c : cases) {
    CAPTURE(c.lines);
    const auto optimizer = make_optimizer("lamb", c.lines);
    Tensors from = lamb_model(sizes);
    std::fill(from[3].begin(), from[3].end(), 0.0F);
    LambOracle oracle = c.oracle(from);
    if (c.max_coeff == 0.3) oracle.min_coeff = 0.2;
    TileHost host(*optimizer, from);
    host.number = 17;  // the count of updates matters, not the number of the step
    c.prepare(host);
    for (int step = 1; step <= 30; ++step) {
      Tensors gradients = noisy(from, step, 0);
      std::fill(gradients[4].begin(), gradients[4].end(), 0.0F);
      const Plan& plan = host.step(gradients);
      oracle.dense(gradients);
      REQUIRE(plan.rounds().size == 1);
      CHECK(plan.rounds()[0].kind == RoundKind::dense);
      CAPTURE(step);
      CHECK(largest_difference(host.parameters, oracle.p) < 2e-6);
    }
    CHECK(host.numbers("updates")[0] == 30);
    if (c.decay == 0) CHECK(host.numbers("coefficient")[4] == 1);  // nothing moves there
  }
}

TEST_CASE("onebit_lamb: both messages, with and without weight decay, against the formulas") {
  const std::vector<size_t> sizes = {1, 33, 4096 + 50, 200};
  const Case cases[] = {
      {},
      {"", true, true, 0.05},
      {"bias_correction = false\nvariance_floor = 0\nclamp = 0\nmax_coeff = 1.0", true, false, 0, 1, 0, 1e30},
      {"variance_floor = 0.2\nclamp = 0.5", true, true, 0.1, 10, 0.2, 0.5},
      {"trust_ratio = \"frozen\"", true, true, 0.05},
      {"message = \"momentum\"", false},
      {"message = \"momentum\"", false, true, 0.05},
      {"message = \"momentum\"\nbias_correction = false\nvariance_floor = 0\nclamp = 0\nmax_coeff = 0.3\ntrust_ratio = "
       "\"frozen\"",
       false, false, 0.01, 0.3, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.lines);
    CAPTURE(c.decay);
    const auto optimizer = make_optimizer("onebit_lamb", freeze_at(6, "refresh = 0\n" + c.lines));
    const Tensors from = lamb_model(sizes);
    TileHost host(*optimizer, from);
    c.prepare(host);
    Signs signs(from);
    host.mean = std::ref(signs);
    LambOracle oracle = c.oracle(from);
    for (int step = 1; step <= 30; ++step) {
      CAPTURE(step);
      const Tensors gradients = noisy(from, step, 0);
      const std::vector<double> message = oracle.message(gradients);
      host.step(gradients);
      if (step > 6) CHECK(largest_difference(host.message, message) < 5e-6);
      step <= 6 ? oracle.dense(gradients) : oracle.compressed(signs.last);
      if (step == 6) oracle.freeze();
      CHECK(largest_difference(host.parameters, oracle.p) < 3e-6);
      for (size_t k = 0; k < sizes.size(); ++k) {
        CHECK(host.numbers("average_coefficient")[k] == doctest::Approx(oracle.average[k]).epsilon(1e-5));
        if (step > 6) CHECK(host.numbers("factor")[k] == doctest::Approx(oracle.factor[k]).epsilon(1e-4));
      }
    }
  }
}

TEST_CASE("onebit_lamb: dense until the freeze step, exactly, then a compressed round that is retained, without momentum") {
  for (const int64_t first : {1, 2, 4, 1000}) {
    const auto optimizer = make_optimizer("onebit_lamb", freeze_at(4));
    TileHost host(*optimizer, lamb_model({100}));
    host.number = first;
    const int64_t last = std::max<int64_t>(4, first);  // started beyond it, one dense step comes first
    for (int64_t step = first; step <= last + 4; ++step) {
      CAPTURE(step);
      const bool compressed = step > last;
      const Plan& plan = host.step(noisy(host.parameters, step, 0));
      REQUIRE(plan.rounds().size == 1);
      const Plan::Round& round = plan.rounds()[0];
      CHECK((round.kind == RoundKind::compressed) == compressed);
      CHECK((round.of == Of::message) == compressed);
      CHECK(round.retain == compressed);
      CHECK(plan.apply);
      CHECK(plan.mean_in_apply == compressed);
      CHECK(plan.previous_in_consume == compressed);
      CHECK(plan.acquires().size == (step == last ? 1 : 0));
      CHECK(plan.releases().size == (step == last || step == last + 1 ? 1 : 0));
      CHECK(host.elements("momentum").empty() == compressed);
    }
    CHECK(host.numbers("frozen_at_step")[0] == static_cast<double>(last));
    CHECK(host.numbers("dense_updates")[0] == static_cast<double>(last - first + 1));
    CHECK(host.numbers("compressed_updates")[0] == 4);
  }
}

TEST_CASE("lamb, onebit_lamb: denormal and huge gradients keep everything finite") {
  for (const float size : {1e-42F, 1e-25F, 1e-10F, 0x1p50F}) {
    CAPTURE(size);
    for (const std::string lines : {"", "message = \"momentum\"\n"}) {
      const auto optimizer = make_optimizer("onebit_lamb", freeze_at(3, lines));
      const Tensors from = lamb_model({100});
      TileHost host(*optimizer, from);
      while (host.number <= 8) {
        Tensors gradients = noisy(from, host.number, 0);
        for (float& g : gradients[0]) g *= size;
        host.step(gradients);
      }
      for (const float p : host.parameters[0]) CHECK(std::isfinite(p));
    }
  }
}

TEST_CASE("lamb, onebit_lamb: every SIMD target gives the same bits") {
  const Tensors from = lamb_model({1, 31, 33, 4096 + 7, 3 * 4096});
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"lamb", ""}, {"onebit_lamb", freeze_at(3)}, {"onebit_lamb", freeze_at(3, "message = \"momentum\"\nclamp = 0")}};
  for (const auto& item : cases) {  // clang 14 lets no lambda capture structured bindings
    Vector expected;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      CAPTURE(item.second);
      CAPTURE(hwy::TargetName(target));
      const OnTarget on(target);
      const auto optimizer = make_optimizer(item.first, item.second);
      TileHost host(*optimizer, from);
      for (Group& group : host.groups) group.weight_decay = 0.01;
      host.gradient_scale = 0.7F;
      Signs signs(from);
      host.mean = std::ref(signs);
      Vector trail;
      while (host.number <= 8) {
        Tensors gradients = noisy(from, host.number, 0);
        std::fill_n(gradients[4].begin(), 100, 0.0F);  // some never see a gradient
        host.step(gradients);
        for (const double c : host.numbers("coefficient")) trail.push_back(static_cast<float>(c));
        for (const Vector& part : {host.message, host.elements("variance"),
                                   host.elements(item.first == "lamb" ? "variance" : "reciprocal"), host.elements("momentum")})
          trail.insert(trail.end(), part.begin(), part.end());
        for (const Vector& tensor : host.parameters) trail.insert(trail.end(), tensor.begin(), tensor.end());
      }
      if (expected.empty()) expected = trail;
      REQUIRE(trail.size() == expected.size());
      CHECK(std::memcmp(trail.data(), expected.data(), trail.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("onebit_lamb: a lost mean is an error, not a restart from zero") {
  const auto optimizer = make_optimizer("onebit_lamb", freeze_at(1));
  TileHost host(*optimizer, lamb_model({10}));
  for (int step = 0; step < 3; ++step) host.step(noisy(host.parameters, step, 0));
  host.previous.clear();
  CHECK_THROWS_WITH_AS(host.step(noisy(host.parameters, 9, 0)),
                       doctest::Contains("the retained mean of the last compressed step is missing"), Error);
}

TEST_CASE("lamb, onebit_lamb: options that cannot be are refused in words") {
  for (const std::string name : {"lamb", "onebit_lamb"}) {
    CHECK_THROWS_WITH_AS((void)make_optimizer(name, "betas = [0.9]"),
                         doctest::Contains(("optimizer '" + name + "': betas has 1 numbers").c_str()), Error);
    CHECK_THROWS_WITH_AS((void)make_optimizer(name, "min_coeff = 11.0"),
                         doctest::Contains("min_coeff is 11, above max_coeff, 10"), Error);
  }
  CHECK_THROWS_WITH_AS((void)make_optimizer("onebit_lamb", "factor_min = 5.0"),
                       doctest::Contains("factor_min is 5.000000, above factor_max, 4.000000"), Error);
  CHECK_THROWS_AS((void)make_optimizer("onebit_lamb", freeze_at(0)), Error);
}

}  // namespace onebit::test
