// SPDX-License-Identifier: Apache-2.0
// How far one step may move an element where gradients differ by orders of magnitude, for the 1-bit optimizers of the Adam
// family with their defaults; 1-bit LAMB is in lamb_session_test.cpp. In the papers' forms some of these go beyond all bounds.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

constexpr double rate = 1e-3;
using Shape = std::function<void(Tensors& gradients, int64_t step, int rank)>;

std::string manifest(const std::string& optimizer) {
  return "[optimizer]\n" + optimizer +
         "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
}
const std::string onebit_adam_40 = "plugin = \"onebit_adam\"\nfreeze_step = 40\n";
const std::string zeroone_40 =
    "plugin = \"zeroone_adam\"\nvar_freeze_step = 40\nvar_update_scaler = 4\nlocal_step_scaler = 80\nlocal_step_clipper = 4\n";

// The largest change of any element in a step, in learning rates: 2 ranks, 340 steps. What ranks share is looked at; it moves
// at syncs, by what the steps since the last one have added up to.
double reach(const std::string& optimizer, const Shape& shape) {
  const Tensors initial = noisy({Tensors::value_type(6000), Tensors::value_type(500)}, 777, 0);
  double most = 0;
  run_sessions(2, manifest(optimizer), initial, [&](Rank rank) {
    Tensors before = rank.parameters;
    int steps = 0;
    for (int64_t step = 1; step <= 340; ++step) {
      Tensors gradients = noisy(initial, step, rank.number);
      shape(gradients, step, rank.number);
      ++steps;
      if (rank.session.step(pointers(gradients)).local || rank.number != 0) continue;
      for (size_t k = 0; k < before.size(); ++k)
        for (size_t i = 0; i < before[k].size(); ++i)
          most = std::max(most, std::fabs(static_cast<double>(rank.parameters[k][i]) - before[k][i]) / rate / steps);
      before = rank.parameters;
      steps = 0;
    }
  });
  return most;
}

void check_reach(const Shape& shape) {
  for (const std::string& optimizer : {onebit_adam_40, zeroone_40, zeroone_40 + "variance_stage = \"gradient\"\n"}) {
    CAPTURE(optimizer);
    const double found = reach(optimizer, shape);
    CHECK(found <= 10);
    CHECK(found > 0.5);
  }
}

}  // namespace

TEST_CASE("bounded steps: half the tensors with gradients 1000 times smaller") {
  check_reach([](Tensors& gradients, int64_t, int) {
    for (float& g : gradients[1]) g *= 1e-3F;
  });
}

void spread(Tensors& gradients, int64_t, int) {
  for (size_t i = 0; i < gradients[0].size(); ++i) gradients[0][i] *= std::pow(10.0F, -static_cast<float>(i % 7));
}
TEST_CASE("bounded steps: gradients over six decades inside one block") {
  check_reach(spread);
  CHECK(reach(onebit_adam_40 + "message = \"momentum\"\nvariance_floor = 0.0\n", spread) > 10);
}

TEST_CASE("bounded steps: elements that are active one per cent of the time") {
  check_reach([](Tensors& gradients, int64_t step, int rank) {
    for (size_t i = 0; i < gradients[0].size(); ++i)
      if (i % 3 == 0 && noise(static_cast<uint64_t>(step), static_cast<uint64_t>(rank), 5, i) < 0.98F) gradients[0][i] = 0;
  });
}
