// SPDX-License-Identifier: Apache-2.0
// What multiplies gradients must be something in fp32: a factor that is not would let them vanish without a word.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors tiny_model = {std::vector<float>(300, 0.25F)};

}  // namespace

TEST_CASE("a gradient scale that is nothing in fp32, or infinite, is refused") {
  run_sessions(1, onebit_adam(""), tiny_model, [&](Rank rank) {
    for (const double bad : {1e-50, -1e-39, 1e39, std::numeric_limits<double>::infinity()})
      CHECK_THROWS_WITH_AS(rank.session.set_gradient_scale(bad), doctest::Contains("the gradient scale must be"), Error);
    for (const double good : {0.0, -2.0, 1e-30}) CHECK_NOTHROW(rank.session.set_gradient_scale(good));
  });
}

TEST_CASE("a clip_norm that would make such a scale is refused where it stands") {
  CHECK_THROWS_WITH(
      configure(onebit_adam("", "[session]\nclip_norm = 1e-20\n")),
      "test.toml:10:13: session.clip_norm: expected 0 (no clipping), or at least 1e-15, found 1e-20: gradients are "
      "scaled in fp32");
  CHECK_NOTHROW(configure(onebit_adam("", "[session]\nclip_norm = 1e-15\n")));
}

TEST_CASE("the norm of small gradients is told, and clips") {
  struct Case {
    const char* clip_norm;
    float gradient;
    double scale;
  };
  for (const Case& c : {Case{"1.0", 1e-25F, 1}, {"1e-15", 1e-14F, 0.1 / std::sqrt(300.0)}})
    run_sessions(2, onebit_adam("", std::string("[session]\nclip_norm = ") + c.clip_norm + "\n"), tiny_model, [&](Rank rank) {
      const Tensors gradients = {std::vector<float>(300, c.gradient)};
      const StepReport report = rank.session.step(pointers(gradients));
      const double norm = std::sqrt(300.0) * static_cast<double>(c.gradient);
      CHECK(report.gradient_norm == doctest::Approx(norm).epsilon(1e-5).scale(0));
      CHECK(report.gradient_scale == doctest::Approx(c.scale).epsilon(1e-5));
    });
}
