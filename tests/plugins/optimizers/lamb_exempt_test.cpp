// SPDX-License-Identifier: Apache-2.0
// always_adapt = false of `lamb` and `onebit_lamb`: tensors without weight decay have the trust ratio 1, before the freeze and
// after it; against the oracle in double, and in whole sessions against Adam, which such a tensor's step is.
#include <doctest/doctest.h>

#include <string>

#include "arithmetic.hpp"
#include "lamb_oracle.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"
#include "signs.hpp"
#include "support/component.hpp"
#include "support/gradients.hpp"
#include "support/sessions.hpp"

namespace onebit::test {
namespace {

const std::string exempting = "always_adapt = false\nweight_decay = 0.1\n";
const std::vector<double> decay_of_tensors = {0.1, 0, 0.05, 0};

LambOracle exempting_oracle(const std::vector<Vector>& from, bool update) {
  LambOracle oracle(from);
  oracle.decays = decay_of_tensors;
  oracle.update = update;
  return oracle;
}

// Two tensors of a session: one that adapts, and one without weight decay.
std::vector<Tensors> trained(const std::string& optimizer, int steps) {
  const Tensors initial = {std::vector<float>(5000, 0.5F), std::vector<float>(4100, 3.0F)};
  return run_sessions(2,
                      "[optimizer]\n" + optimizer +
                          "weight_decay = 0.1\n[[optimizer.group]]\ntensors = [\"t1\"]\nweight_decay = 0.0\n[communicator]\n"
                          "plugin = \"threads\"\n",
                      initial, [&](Rank rank) {
                        for (int step = 1; step <= steps; ++step)
                          rank.session.step(pointers(noisy(initial, step, rank.number)));
                      });
}

}  // namespace

TEST_CASE("lamb: without always_adapt, tensors without weight decay have the trust ratio 1") {
  const auto optimizer = make_optimizer("lamb", exempting);
  const std::vector<Vector> from = lamb_model({33, 50, 4096 + 50, 4096 + 7});
  LambOracle oracle = exempting_oracle(from, true);
  TileHost host(*optimizer, from);
  for (size_t k = 0; k < from.size(); ++k) host.groups[k] = {1e-2, decay_of_tensors[k]};
  for (int step = 1; step <= 20; ++step) {
    const std::vector<Vector> gradients = noisy(from, step, 0);
    host.step(gradients);
    oracle.dense(gradients);
    CHECK(largest_difference(host.parameters, oracle.p) < 2e-6);
  }
  for (const size_t k : {0U, 2U}) CHECK(host.numbers("coefficient")[k] != 1);
  for (const size_t k : {1U, 3U}) CHECK(host.numbers("coefficient")[k] == 1);
}

TEST_CASE("onebit_lamb: and so they have after the freeze") {
  for (const bool update : {true, false}) {
    CAPTURE(update);
    const std::string message = update ? "" : "message = \"momentum\"\n";
    const auto optimizer = make_optimizer("onebit_lamb", exempting + "freeze_step = 6\nrefresh = 0\n" + message);
    const std::vector<Vector> from = lamb_model({33, 50, 4096 + 50, 4096 + 7});
    LambOracle oracle = exempting_oracle(from, update);
    TileHost host(*optimizer, from);
    for (size_t k = 0; k < from.size(); ++k) host.groups[k] = {1e-2, decay_of_tensors[k]};
    Signs signs(from);
    host.mean = std::ref(signs);
    for (int step = 1; step <= 25; ++step) {
      CAPTURE(step);
      const std::vector<Vector> gradients = noisy(from, step, 0);
      host.step(gradients);
      step <= 6 ? oracle.dense(gradients) : oracle.compressed(signs.last);
      if (step == 6) oracle.freeze();
      CHECK(largest_difference(host.parameters, oracle.p) < 3e-6);
    }
    for (const size_t k : {1U, 3U}) {
      CHECK(host.numbers("coefficient")[k] == 1);
      CHECK(host.numbers("factor")[k] == 1);
    }
    for (const size_t k : {0U, 2U}) CHECK(host.numbers("coefficient")[k] != 1);
  }
}

TEST_CASE("lamb: in a session, the step of an exempt tensor is Adam's, to the bit") {
  const std::vector<Tensors> adam = trained("plugin = \"adam\"\n", 8);
  const std::vector<Tensors> all = trained("plugin = \"lamb\"\n", 8);
  const std::vector<Tensors> some = trained("plugin = \"lamb\"\nalways_adapt = false\n", 8);
  CHECK(some[0] == some[1]);
  CHECK(some[0][1] == adam[0][1]);
  CHECK(some[0][0] == all[0][0]);
  CHECK(all[0][1] != adam[0][1]);
  CHECK(all[0][0] != adam[0][0]);
}

TEST_CASE("lamb: where nothing has weight decay, always_adapt = false would leave Adam, and is refused") {
  for (const char* name : {"lamb", "onebit_lamb"})
    CHECK_THROWS_WITH(make_optimizer(name, "always_adapt = false"),
                      doctest::Contains("always_adapt is false, so tensors without weight decay have no trust ratio, and "
                                        "weight_decay is 0: set it above 0, and weight_decay = 0.0 in a table "
                                        "[[optimizer.group]] for the tensors to exempt"));
}

TEST_CASE("lamb: the norms of small tensors and small updates do not vanish") {
  const auto optimizer = make_optimizer("lamb", "eps = 1.0");
  TileHost host(*optimizer, {Vector(5000, 1e-25F), Vector(5000, 1e-3F)});
  host.step({Vector(5000, 0.5F), Vector(5000, 1e-24F)});
  CHECK(host.numbers("coefficient")[0] == 0.01);  // as the limits say, and not the 1 of a norm that is 0
  CHECK(host.numbers("coefficient")[1] == 10);
}

}  // namespace onebit::test
