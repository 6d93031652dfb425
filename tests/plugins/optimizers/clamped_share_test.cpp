// SPDX-License-Identifier: Apache-2.0
// The share of preconditioned gradients that is cut at the bound: of gradients of which it is known.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "arithmetic.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"
#include "support/component.hpp"
#include "support/gradients.hpp"
#include "support/sessions.hpp"

namespace onebit::test {

using conformance::TileHost;
namespace {

struct WithBound {
  const char *optimizer, *frozen, *longer;  // options for steps before the freeze, and for local steps
};

// Of `size` elements a share of `cut` is five times as large as the others.
Vector partly_large(size_t size, double cut) {
  Vector gradient(size, 1.0F);
  for (size_t i = 0; i < size; ++i)
    if (static_cast<double>(i % 8) < 8 * cut) gradient[i] = 5;
  return gradient;
}

}  // namespace

TEST_CASE("optimizers: the share of preconditioned gradients that is cut is told, of all blocks alike") {
  const std::vector<uint64_t> flags = {0, 0, 0, ONEBIT_TENSOR_DENSE};  // blocks: 10, 30, 150, and 30 that are exempt
  const std::vector<Vector> even = {Vector(640, 1.0F), Vector(1920, 1.0F), Vector(9600, 1.0F), Vector(1920, 1.0F)};
  const std::vector<Vector> uneven = {partly_large(640, 1), partly_large(1920, 0.5), partly_large(9600, 0.125),
                                      partly_large(1920, 1)};
  const double share_of_all = (640 * 1 + 1920 * 0.5 + 9600 * 0.125) / (640 + 1920 + 9600);
  const WithBound all[] = {{"onebit_adam", "freeze_step = 4\n", ""},
                           {"onebit_lamb", "freeze_step = 4\n", ""},
                           {"zeroone_adam", "var_freeze_step = 4\n", "local_step_scaler = 20\nlocal_step_clipper = 4\n"}};
  for (const WithBound& with : all)
    for (const std::string message : {"update", "momentum"})
      for (const double limit : {2.0, 0.0}) {
        CAPTURE(with.optimizer);
        CAPTURE(message);
        CAPTURE(limit);
        const auto optimizer =
            make_optimizer(with.optimizer, with.frozen + std::string(with.longer) + "message = \"" + message +
                                               "\"\nrefresh = 0\nclamp = " + std::to_string(limit) + "\n");
        TileHost host(*optimizer, even, 64, flags);
        host.gradient_scale = 0.5F;
        for (int step = 0; step < 4; ++step) host.step(even);
        CHECK(host.numbers("clamped_share")[0] == 0);
        for (int step = 0; step < 64; ++step) host.step(even);
        CHECK(host.numbers("clamped_share")[0] == 0);
        const bool cuts = message == "update" && limit > 0;
        for (int step = 0; step < (cuts ? 640 : 64); ++step) host.step(uneven);
        double mean = 0;
        for (int step = 0; step < 64; ++step) {
          host.step(uneven);
          mean += host.numbers("clamped_share")[0] / 64;
        }
        if (cuts)
          CHECK(std::fabs(mean - share_of_all) < 0.02);
        else
          CHECK(mean == 0);
      }
}

// The one block is looked at in each 64th step.
TEST_CASE("the report tells which share of gradients is cut at optimizer.clamp") {
  const Tensors initial = {std::vector<float>(50, 0.5F)};
  run_sessions(2, onebit_adam("freeze_step = 3\nclamp = 1e-3\n"), initial, [&](Rank rank) {
    for (int64_t step = 1; step <= 70; ++step) {
      const double share = rank.session.step(pointers(noisy(initial, step, rank.number))).clamped_share;
      if (step < 64 ? share != 0 : !(share > 0.9 && share <= 1)) throw std::runtime_error("the share is off");
    }
  });
}

}  // namespace onebit::test
