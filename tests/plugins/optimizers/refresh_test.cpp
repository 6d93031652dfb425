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
    for (const bool corrects : {true, false}) {
      CAPTURE(which.optimizer);
      CAPTURE(corrects);
      const std::string form = corrects ? "bias_correction = true\n" : "bias_correction = false\n";
      const auto optimizer = make_optimizer(which.optimizer, with(which, "refresh = 0.05\n" + form));
      const auto without = make_optimizer(which.optimizer, with(which, "refresh = 0\n" + form));
      std::mt19937 generator(3);
      const std::vector<Vector> initial = random_tensors(generator, sizes, 1);
      TileHost host(*optimizer, initial, 4096, flags), other(*without, initial, 4096, flags);
      host.gradient_scale = other.gradient_scale = 0.5F;
      std::vector<int> when;
      int last = 40;
      for (int step = 1; step <= 100; ++step) {
        std::vector<Vector> gradients = random_tensors(generator, sizes, 0.1F);
        gradients[1][7] = 0;
        const Vector before = step > 40 ? host.elements("reciprocal") : Vector();
        const std::vector<double> means = host.numbers("mean_variance");
        const bool is_lamb = std::string(which.optimizer) == "onebit_lamb";
        const Vector fresh = is_lamb ? host.elements("fresh_variance") : Vector();
        other.step(gradients);
        const bool refreshed = refreshes(host.step(gradients));
        CHECK(host.parameters[2] == other.parameters[2]);  // an exempt tensor knows nothing of it
        if (!refreshed) {
          const Vector& same = host.elements("reciprocal");
          if (step > 41) CHECK(std::equal(before.begin(), before.begin() + 33 + 4096 + 50, same.begin()));
          continue;
        }
        when.push_back(step);
        const double all = corrects ? 1 - std::pow(beta2, step) : 1;
        const double weight = std::min(0.1, (1 - std::pow(beta2, step - last)) / all);
        last = step;
        const Vector& after = host.elements("reciprocal");
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
          CHECK(host.numbers("mean_variance")[t] ==
                doctest::Approx(sum / static_cast<double>(sizes[t])).epsilon(1e-5).scale(0));
        }
        CHECK(worst < 1e-5);
        for (size_t i = 0; is_lamb && i < sizes[0]; ++i) {
          const double g = 0.5 * static_cast<double>(gradients[0][i]);
          CHECK(host.elements("fresh_variance")[i] ==
                doctest::Approx(beta2 * fresh[i] + (1 - beta2) * g * g).epsilon(1e-4).scale(0));
        }
      }
      CHECK(when == std::vector<int>{42, 45, 48, 51, 54, 57, 60, 63, 67, 71, 75, 79, 83, 88, 93, 98});
    }
}

TEST_CASE(
    "refresh: 0 is none, nor is there one with plain momenta, and at least a hundredth of what the variance remembers lies "
    "between two") {
  for (const Refreshing& which : all_refreshing) {
    CAPTURE(which.optimizer);
    int rounds = 0, apart = 0;
    for (const std::string lines :
         {"refresh = 0\n", "refresh = 0.001\nmessage = \"momentum\"\n", "refresh = 0.001\nbetas = [0.9, 0.995]\n"}) {
      const auto optimizer = make_optimizer(which.optimizer, which.options + lines);
      TileHost host(*optimizer, {Vector(50, 1.0F)});
      int last = 40;
      for (int step = 1; step <= 80; ++step) {
        if (!refreshes(host.step({Vector(50, 0.1F)}))) continue;
        ++rounds;
        apart = step - last;
        last = step;
      }
      CHECK(rounds == (lines.find("betas") == std::string::npos ? 0 : 20));
    }
    CHECK(apart == 2);
  }
}

TEST_CASE("refresh: rare gradients keep their variance, and what has none keeps the floor that it had") {
  for (const Refreshing& which : all_refreshing) {
    CAPTURE(which.optimizer);
    const auto optimizer = make_optimizer(which.optimizer, with(which, "refresh = 0.02\n"));
    const size_t many = 2000;
    TileHost host(*optimizer, {Vector(many, 1.0F), Vector(20, 1.0F), Vector(1000, 1.0F)});
    std::mt19937 generator(5);
    std::bernoulli_distribution hit(0.02);
    Vector rare(many), one(1000), before;
    for (int step = 1; step <= 4000; ++step) {
      for (float& g : rare) g = hit(generator) ? 1.0F : 0.0F;
      one[0] = step > 100 ? 0.01F : 0.0F;  // the only one of its tensor, and not before the freeze
      host.step({rare, Vector(20), one});
      if (step == 41) before = host.elements("reciprocal");
    }
    const Vector& r = host.elements("reciprocal");
    CHECK(host.numbers("mean_variance")[0] == doctest::Approx(0.02).epsilon(0.2).scale(0));
    CHECK(r[many] == doctest::Approx(before[many]).epsilon(0.001).scale(0));            // of a tensor that never had one
    CHECK(r[many + 27] == doctest::Approx(before[many + 27]).epsilon(0.001).scale(0));  // beside one that had
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
      CHECK(host.elements("reciprocal")[0] == doctest::Approx(refresh == "0" ? 1 : 100).epsilon(0.02));
      CHECK(host.elements("reciprocal")[3] == 0);
      CHECK(host.parameters[0][3] == at_rest);
    }
}

}  // namespace onebit::test
