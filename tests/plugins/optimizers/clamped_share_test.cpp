// SPDX-License-Identifier: Apache-2.0
// The share of preconditioned gradients that is cut at the bound: of gradients of which it is known.
#include <doctest/doctest.h>

#include <string>

#include "arithmetic.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"
#include "support/component.hpp"

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
  const std::vector<size_t> sizes = {64, 192, 640, 64};  // 1, 3 and 10 blocks, and a tensor that is exempt
  const std::vector<uint64_t> flags = {0, 0, 0, ONEBIT_TENSOR_DENSE};
  const std::vector<Vector> even = {Vector(64, 1.0F), Vector(192, 1.0F), Vector(640, 1.0F), Vector(64, 1.0F)};
  const std::vector<Vector> uneven = {partly_large(64, 1), partly_large(192, 0.5), partly_large(640, 0.125),
                                      partly_large(64, 1)};
  const double expected = (64 * 1 + 192 * 0.5 + 640 * 0.125) / 896;
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
        TileHost host(*optimizer, {Vector(64, 1.0F), Vector(192, 1.0F), Vector(640, 1.0F), Vector(64, 1.0F)}, 64, flags);
        host.gradient_scale = 0.5F;
        for (int step = 0; step < 4; ++step) host.step(even);
        CHECK(host.numbers("clamped_share")[0] == 0);
        for (int step = 0; step < 64; ++step) host.step(even);
        CHECK(host.numbers("clamped_share")[0] == 0);
        const bool cuts = message == "update" && limit > 0;
        for (int step = 0; step < 6400; ++step) host.step(uneven);
        CHECK(host.numbers("clamped_share")[0] == doctest::Approx(cuts ? expected : 0).epsilon(0.3));
        double mean = 0;
        for (int step = 0; step < 64; ++step) {
          host.step(uneven);
          mean += host.numbers("clamped_share")[0] / 64;
        }
        CHECK(mean == doctest::Approx(cuts ? expected : 0).epsilon(0.05));
      }
}

}  // namespace onebit::test
