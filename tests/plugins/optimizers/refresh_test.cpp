// SPDX-License-Identifier: Apache-2.0
// Dense rounds after the freeze that renew the frozen variance: when they come, and what they make of it, against doubles.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>

#include "arithmetic.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"
#include "support/component.hpp"

namespace onebit::test {

using conformance::TileHost;
namespace {

struct Refreshing {
  const char *optimizer, *options;  // a freeze at step 40
};
const Refreshing all_refreshing[] = {
    {"onebit_adam", "freeze_step = 40\n"},
    {"onebit_lamb", "freeze_step = 40\n"},
    {"zeroone_adam", "var_freeze_step = 40\nvar_update_scaler = 1000\nlocal_step_scaler = 1000\n"}};
constexpr double beta2 = 0.99;

bool refreshes(const Plan& plan) {
  return plan.rounds().size == 2 && plan.rounds()[0].kind == RoundKind::dense && plan.rounds()[0].of == Of::gradient &&
         plan.rounds()[1].kind == RoundKind::compressed;
}

std::string with(const Refreshing& which, const std::string& more) {
  return which.options + std::string("betas = [0.9, 0.99]\n") + more;
}

}  // namespace

TEST_CASE("refresh: rounds of the gradient come ever further apart, and each renews the reciprocal as the formula says") {
  const std::vector<size_t> sizes = {33, 4096 + 50, 64};
  const std::vector<uint64_t> flags = {0, 0, ONEBIT_TENSOR_DENSE};
  for (const Refreshing& which : all_refreshing)
    for (const std::string message : {"update", "momentum"})
      for (const bool corrects : {true, false}) {
        CAPTURE(which.optimizer);
        CAPTURE(message);
        CAPTURE(corrects);
        const auto optimizer =
            make_optimizer(which.optimizer, with(which, "refresh = 0.05\nmessage = \"" + message +
                                                            "\"\nbias_correction = " + (corrects ? "true\n" : "false\n")));
        std::mt19937 generator(3);
        TileHost host(*optimizer, random_tensors(generator, sizes, 1), 4096, flags);
        host.gradient_scale = 0.5F;
        std::vector<int> when;
        int last = 40;
        for (int step = 1; step <= 100; ++step) {
          std::vector<Vector> gradients = random_tensors(generator, sizes, 0.1F);
          gradients[1][7] = 0;
          const Vector before = step > 40 ? host.elements("variance") : Vector();
          const std::vector<double> means = host.numbers("mean_variance");
          if (!refreshes(host.step(gradients))) {
            const Vector& same = host.elements("variance");
            if (step > 41) CHECK(std::equal(before.begin(), before.begin() + 33 + 4096 + 50, same.begin()));
            continue;
          }
          when.push_back(step);
          const double all = corrects ? 1 - std::pow(beta2, step) : 1;
          const double weight = std::min(0.1, (1 - std::pow(beta2, step - last)) / all);
          last = step;
          const Vector& after = host.elements("variance");
          size_t at = 0;
          double worst = 0;
          for (size_t t = 0; t < 2; ++t) {
            double sum = 0;
            for (size_t i = 0; i < sizes[t]; ++i, ++at) {
              const double g = 0.5 * static_cast<double>(gradients[t][i]), root = 1 / static_cast<double>(before[at]) - 1e-8;
              const double v = (1 - weight) * root * root + weight * g * g;
              sum += v;
              const double expected = 1 / (std::sqrt(std::max(v, 0.01 * means[t])) + 1e-8);
              worst = std::max(worst, std::fabs(static_cast<double>(after[at]) / expected - 1));
            }
            CHECK(host.numbers("mean_variance")[t] == doctest::Approx(sum / static_cast<double>(sizes[t])).epsilon(1e-5));
          }
          CHECK(worst < 1e-5);
          if (std::string(which.optimizer) == "onebit_lamb") CHECK(host.elements("fresh_variance")[0] > 0);
        }
        CHECK(when == std::vector<int>{42, 45, 48, 51, 54, 57, 60, 63, 67, 71, 75, 79, 83, 88, 93, 98});
      }
}

TEST_CASE("refresh: 0 is none, and at least a hundredth of what the variance remembers lies between two") {
  for (const Refreshing& which : all_refreshing) {
    CAPTURE(which.optimizer);
    int rounds = 0, apart = 0;
    for (const std::string lines : {"refresh = 0\n", "refresh = 0.001\nbetas = [0.9, 0.995]\n"}) {
      const auto optimizer = make_optimizer(which.optimizer, which.options + lines);
      TileHost host(*optimizer, {Vector(50, 1.0F)});
      int last = 40;
      for (int step = 1; step <= 80; ++step) {
        if (!refreshes(host.step({Vector(50, 0.1F)}))) continue;
        ++rounds;
        apart = step - last;
        last = step;
      }
      CHECK(rounds == (lines == "refresh = 0\n" ? 0 : 20));
    }
    CHECK(apart == 2);
  }
}

// Gradients that become a hundred times smaller after the freeze: the reciprocal follows, as Adam's does.
TEST_CASE("refresh: steps keep their length where gradients shrink, and what has r = 0 stays at rest") {
  for (const Refreshing& which : all_refreshing)
    for (const std::string refresh : {"0", "0.02"}) {
      CAPTURE(which.optimizer);
      CAPTURE(refresh);
      const auto optimizer = make_optimizer(which.optimizer, with(which, "variance_floor = 0\nrefresh = " + refresh + "\n"));
      TileHost host(*optimizer, {Vector(50, 1.0F)});
      Vector gradient(50, 1.0F);
      gradient[3] = 0;
      for (int step = 1; step <= 40; ++step) host.step({gradient});
      const float at_rest = host.parameters[0][3];
      for (float& g : gradient) g = 0.01F;
      for (int step = 41; step <= 2000; ++step) host.step({gradient});
      CHECK(host.elements("variance")[0] == doctest::Approx(refresh == "0" ? 1 : 100).epsilon(0.02));
      CHECK(host.elements("variance")[3] == 0);
      CHECK(host.parameters[0][3] == at_rest);
    }
}

}  // namespace onebit::test
