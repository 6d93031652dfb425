// SPDX-License-Identifier: Apache-2.0
// Gradients whose squares leave fp32's normal numbers, beside an eps that is smaller still. All optimizers of the Adam family
// are equivariant: gradients and eps times k (here 2^60, which rounds nothing) give the same steps.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "onebit/conformance/fixtures/tile_host.hpp"
#include "signs.hpp"
#include "support/component.hpp"
#include "support/gradients.hpp"

namespace onebit::test {
namespace {

using conformance::TileHost;
using Vectors = std::vector<conformance::Floats>;

// After 20 steps at learning rate 1e-3 on gradients of about `size`.
Vectors trained_with(const std::string& optimizer, const std::string& options, const std::string& eps, float size) {
  const auto made = make_optimizer(optimizer, options + "eps = " + eps + "\n");
  const Vectors initial = {conformance::Floats(300, 0.5F), conformance::Floats(70, 2.0F)};
  TileHost host(*made, initial);
  Signs signs(initial);
  host.mean = std::ref(signs);
  for (int step = 1; step <= 20; ++step) {
    Vectors gradients = noisy(initial, step, 0);
    for (auto& tensor : gradients)
      for (float& g : tensor) g = (g + (g < 0 ? -0.5F : 0.5F)) * size;
    host.step(gradients);
  }
  return host.parameters;
}

}  // namespace

TEST_CASE("gradients of 1e-18 with eps = 1e-20 take the steps of gradients of 1 with eps = 1e-20 x 2^60") {
  const std::pair<const char*, const char*> optimizers[] = {
      {"adam", ""},
      {"adam", "bias_correction = false\n"},
      {"lamb", ""},
      {"onebit_adam", "freeze_step = 8\n"},
      {"onebit_adam", "freeze_step = 8\nmessage = \"momentum\"\n"},
      {"onebit_lamb", "freeze_step = 8\n"},
      {"zeroone_adam", "var_freeze_step = 8\nlocal_step_scaler = 4\nlocal_step_clipper = 2\n"}};
  for (const auto& optimizer : optimizers) {
    const char *const name = optimizer.first, *const options = optimizer.second;
    CAPTURE(name);
    CAPTURE(options);
    const Vectors small = trained_with(name, options, "1e-20", 0x1p-60F);
    const Vectors plain = trained_with(name, options, "1.152921504606846976e-2", 1.0F);
    double most = 0, moved = 0;
    for (size_t t = 0; t < plain.size(); ++t)
      for (size_t i = 0; i < plain[t].size(); ++i) {
        most = std::max(most, std::fabs(static_cast<double>(small[t][i]) - static_cast<double>(plain[t][i])));
        moved = std::max(moved, std::fabs(static_cast<double>(plain[t][i]) - (t == 0 ? 0.5 : 2.0)));
      }
    CHECK(moved > 1e-3);
    CHECK(most < 1e-3 * moved);
  }
}

TEST_CASE("an eps below the gradients whose squares fp32 loses is refused") {
  for (const char* name : {"adam", "lamb", "onebit_adam", "onebit_lamb", "zeroone_adam"}) {
    CAPTURE(name);
    for (const char* good : {"eps = 1e-20", "eps = 1e-15", "eps = 1e-17\nbetas = [0.9, 0.99999999]"})
      CHECK_NOTHROW(make_optimizer(name, good));
    CHECK_THROWS_WITH(make_optimizer(name, "eps = 1e-21"), doctest::Contains("1e-20"));
    CHECK_THROWS_WITH(
        make_optimizer(name, "eps = 1e-20\nbetas = [0.9, 0.9999999]"),
        doctest::Contains("eps is 1e-20; with beta2 = 0.9999999 it must be at least 1.2e-19, the smallest gradient "
                          "whose square fp32 can add to the variance: set a larger eps, or a smaller beta2"));
  }
}

TEST_CASE("zeroone_adam: learning rates that have no reciprocal in fp32 move nothing, and end nothing") {
  const auto optimizer = make_optimizer("zeroone_adam", "var_freeze_step = 2\nlocal_step_scaler = 1\nlocal_step_clipper = 4\n");
  const Vectors initial = {conformance::Floats(100, 0.5F)};
  TileHost host(*optimizer, initial);
  int syncs = 0;
  for (int step = 1; step <= 20; ++step) {
    if (step > 3) host.groups[0].learning_rate = 1e-40;
    const Vectors before = host.parameters;
    syncs += host.step(noisy(initial, step, 0)).rounds().size > 0 && step > 3 ? 1 : 0;
    if (step > 8) CHECK(host.parameters == before);
    for (const float p : host.parameters[0]) REQUIRE(std::isfinite(p));
  }
  CHECK(syncs > 2);
}

TEST_CASE("where eps outweighs it, a variance below fp32's normal numbers is still taken for 0, which keeps steps fast") {
  for (const auto& [eps, kept] : {std::pair{"1e-8", false}, {"1e-15", false}, {"1e-16", true}, {"1e-20", true}}) {
    const auto adam = make_optimizer("adam", std::string("eps = ") + eps);
    TileHost host(*adam, {conformance::Floats(5, 0.5F)});
    host.step({conformance::Floats(5, 1e-18F)});
    CHECK((host.elements("variance")[0] > 0) == kept);
  }
}

}  // namespace onebit::test
