// SPDX-License-Identifier: Apache-2.0
// The frozen reciprocal in bf16, and the bounds on what is divided by the root of the variance.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "arithmetic.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"
#include "support/component.hpp"

namespace onebit::test {

using conformance::TileHost;

namespace {
using Tensors = std::vector<Vector>;
}  // namespace

TEST_CASE("optimizers: a reciprocal in bf16 is that in fp32, rounded to nearest, and steps are taken with it") {
  for (const std::string name : {"onebit_adam", "onebit_lamb", "zeroone_adam"})
    for (const std::string message : {"update", "momentum"}) {
      CAPTURE(name);
      CAPTURE(message);
      const std::string options = (name == "zeroone_adam" ? "var_freeze_step = 3\n" : "freeze_step = 3\n") +
                                  std::string("refresh = 0\nmessage = \"") + message + "\"\n";
      const auto wide_optimizer = make_optimizer(name, options),
                 narrow_optimizer = make_optimizer(name, options + "reciprocal_dtype = \"bf16\"");
      const Tensors from = seeded_tensors({3000, 40}, 1);
      TileHost wide(*wide_optimizer, from), narrow(*narrow_optimizer, from);
      for (uint32_t step = 1; step <= 3; ++step) {
        CHECK(wide.elements("reciprocal").empty());
        for (TileHost* host : {&wide, &narrow}) host->step(seeded_tensors({3000, 40}, step));
      }
      CHECK(wide.parameters == narrow.parameters);
      CHECK(wide.elements("variance").empty());
      const Vector r = wide.elements("reciprocal"), halves = narrow.elements("reciprocal");
      REQUIRE(r.size() == 3040);
      REQUIRE(halves.size() == 3040);
      int64_t rounded = 0;
      for (size_t i = 0; i < r.size(); ++i) {
        uint32_t word = 0;
        std::memcpy(&word, &halves[i], sizeof word);
        REQUIRE((word & 0xffffU) == 0);
        REQUIRE(std::fabs(halves[i] - r[i]) <= std::ldexp(1.0F, std::ilogb(r[i]) - 8));
        rounded += halves[i] != r[i] ? 1 : 0;
      }
      CHECK(rounded > 3000);
      for (TileHost* host : {&wide, &narrow}) host->step(seeded_tensors({3000, 40}, 4));
      float moved = 0, apart = 0;
      for (size_t i = 0; i < 3000; ++i) {
        moved = std::max(moved, std::fabs(wide.parameters[0][i] - from[0][i]));
        apart = std::max(apart, std::fabs(wide.parameters[0][i] - narrow.parameters[0][i]));
      }
      CHECK(apart > 0);
      CHECK(apart < moved / 100);
    }
}

TEST_CASE("onebit_adam: a rank's own entries may be as many times Adam's largest as there are ranks, and a step is Adam's") {
  for (const int ranks : {1, 2, 4}) {
    CAPTURE(ranks);
    const auto optimizer = make_optimizer("onebit_adam", freeze_at(2, "refresh = 0\nbetas = [0.9, 0.99]"));
    TileHost host(*optimizer, {Vector(5, 0.5F)});
    host.ranks = ranks;
    for (int step = 0; step < 2; ++step) host.step({Vector(5, 1.0F)});
    const float before = host.parameters[0][0];
    host.mean = [](const Vector& message, bool) { return message; };
    host.step({Vector(5, 1000.0F)});
    const float entry = 10.0F * static_cast<float>(ranks), x = 0.9F * 0.19F + 0.1F * entry;
    CHECK(host.message[0] == doctest::Approx(x).epsilon(1e-5));
    const float direction = x / (1 - 0.9F * 0.9F * 0.9F);
    CHECK(before - host.parameters[0][0] == doctest::Approx(1e-3F * std::min(direction, 10.0F)).epsilon(1e-3));
    CHECK((direction > 10) == (ranks == 4));
  }
}

}  // namespace onebit::test
