// SPDX-License-Identifier: Apache-2.0
// What 1-bit LAMB freezes, and what it does then, where the reference implementation goes wrong: trust ratios, zero momentum,
// the fresh variance; and tensors that are exempt.
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

}  // namespace

TEST_CASE("onebit_lamb: a trust ratio clipped to 1 counts, so that max_coeff = 1 keeps learning after the freeze") {
  for (const std::string message : {"update", "momentum"}) {
    CAPTURE(message);
    const auto optimizer = make_optimizer("onebit_lamb", freeze_at(10, "max_coeff = 1.0\nmessage = \"" + message + "\""));
    const Tensors from = {Vector(500, 30.0F)};  // |p| / |u| is far above 1
    TileHost host(*optimizer, from);
    host.groups[0] = {0.02, 0};
    Signs signs(from);
    host.mean = std::ref(signs);
    const auto step = [&] {
      Tensors gradients = host.parameters;  // of |p - 25|^2 / 2
      for (float& g : gradients[0]) g -= 25;
      host.step(gradients);
    };
    while (host.number <= 10) step();
    CHECK(host.numbers("average_coefficient")[0] == 1);
    const float before = host.parameters[0][0];
    while (host.number <= 110) step();
    CHECK(host.parameters[0][0] < before - 1);
    CHECK(host.parameters[0][0] > 24);
  }
}

TEST_CASE("onebit_lamb: a trust ratio clipped to 1 counts in the average like any other") {
  const auto optimizer = make_optimizer("onebit_lamb", freeze_at(2, "max_coeff = 1.0"));
  TileHost host(*optimizer, {Vector(50, 0.9F)});
  host.groups[0] = {0, 0};
  host.step({Vector(50, 1.0F)});   // u = 1: the ratio is 0.9
  host.step({Vector(50, -1.0F)});  // u = 0.05: clipped to 1
  CHECK(host.numbers("coefficient")[0] == 1);
  CHECK(host.numbers("average_weight")[0] == doctest::Approx(1 - 0.9 * 0.9));
  CHECK(host.numbers("average_coefficient")[0] == doctest::Approx((0.9 * 0.9 + 1) / (0.9 + 1)).epsilon(1e-6));
}

TEST_CASE("onebit_lamb: the average of trust ratios has no bias, however few there were") {
  for (const std::string c : {"0.37", "1.0"})
    for (const int steps : {1, 2, 10}) {
      CAPTURE(steps);
      const auto optimizer = make_optimizer("onebit_lamb", freeze_at(steps, "max_coeff = " + c + "\nmin_coeff = " + c));
      TileHost host(*optimizer, lamb_model({100, 4200}));
      while (host.number <= steps) host.step(noisy(host.parameters, host.number, 0));
      for (const double average : host.numbers("average_coefficient")) CHECK(average == std::stod(c));
      host.step(noisy(host.parameters, host.number, 0));
      for (size_t k = 0; k < 2; ++k) CHECK(host.numbers("coefficient")[k] == std::stod(c) * host.numbers("factor")[k]);
    }
}

TEST_CASE("onebit_lamb: steps in which a norm is 0 do not count, and where all were so the coefficient is 1") {
  const auto optimizer = make_optimizer("onebit_lamb", freeze_at(4, "max_coeff = 0.2\nmin_coeff = 0.2"));
  TileHost host(*optimizer, {Vector(50, 1.0F), Vector(50, 1.0F)});
  while (host.number <= 4) {
    Tensors gradients = noisy(host.parameters, host.number, 0);
    std::fill(gradients[1].begin(), gradients[1].end(), 0.0F);
    if (host.number <= 2) std::fill(gradients[0].begin(), gradients[0].end(), 0.0F);
    host.step(gradients);
  }
  CHECK(host.numbers("average_weight")[0] == doctest::Approx(1 - 0.9 * 0.9));
  CHECK(host.numbers("average_weight")[1] == 0);
  CHECK(host.numbers("average_coefficient") == std::vector<double>{0.2, 1});
}

TEST_CASE("onebit_lamb: a tensor whose momentum is zero at the freeze has scaling 1, and learns") {
  for (const std::string message : {"momentum", "update"}) {
    CAPTURE(message);
    const auto optimizer = make_optimizer("onebit_lamb", freeze_at(3, "betas = [0.0, 0.999]\nmessage = \"" + message + "\""));
    const Tensors from = lamb_model({64, 300, 64});
    TileHost host(*optimizer, from);
    Signs signs(from);
    host.mean = std::ref(signs);
    const auto step = [&] {
      Tensors gradients = noisy(from, host.number, 0);
      if (host.number == 3) std::fill(gradients[0].begin(), gradients[0].end(), 0.0F);  // without decay m = g = 0
      std::fill(gradients[2].begin(), gradients[2].end(), 0.0F);                        // never had a gradient
      host.step(gradients);
    };
    while (host.number <= 3) step();
    CHECK(host.numbers("scaling")[0] == 1);
    CHECK(host.numbers("scaling")[2] == 1);
    const Tensors before = host.parameters;
    while (host.number <= 20) step();
    for (const Vector& tensor : host.parameters)
      for (const float p : tensor) REQUIRE(std::isfinite(p));
    CHECK(host.parameters[0] != before[0]);
    CHECK(host.parameters[1] != before[1]);
    CHECK(host.parameters[2] == before[2]);
  }
}

TEST_CASE("onebit_lamb: frozen after the first step, it starts the fresh variance from the frozen one") {
  for (const std::string message : {"momentum", "update"}) {
    CAPTURE(message);
    const auto optimizer = make_optimizer("onebit_lamb", freeze_at(1, "variance_floor = 0\nmessage = \"" + message + "\""));
    const Tensors from = lamb_model({64, 300});
    TileHost host(*optimizer, from);
    const Tensors gradients = noisy(from, 1, 0);
    host.step(gradients);
    const Vector& fresh = host.elements("fresh_variance");
    for (size_t i = 0; i < 64; ++i) CHECK(fresh[i] == doctest::Approx(gradients[0][i] * gradients[0][i]).epsilon(1e-4));
    for (int step = 0; step < 5; ++step) host.step(gradients);
    // the same gradient again and again: frozen and fresh variance agree
    for (const double factor : host.numbers("factor")) CHECK(factor == doctest::Approx(1).epsilon(1e-3));
  }
}

TEST_CASE("onebit_lamb: the factor falls where gradients grow, and rises where they shrink, a tenth a step at most") {
  const auto optimizer = make_optimizer("onebit_lamb", freeze_at(10, "betas = [0.9, 0.5]\nclamp = 10.0\nrefresh = 0"));
  const Tensors from = {Vector(40, 1.0F), Vector(40, 1.0F)};
  TileHost host(*optimizer, from);
  Tensors gradients = {Vector(40, 1.0F), Vector(40, 1.0F)};
  while (host.number <= 10) host.step(gradients);
  gradients = {Vector(40, 300.0F), Vector(40, 0.0F)};
  double falling = 1, rising = 1;
  while (host.number <= 30) {
    host.step(gradients);
    falling = std::max(0.5, falling * 0.9);
    rising = std::min(4.0, rising * 1.1);
    CHECK(host.numbers("factor")[0] == doctest::Approx(falling).epsilon(1e-12));
    CHECK(host.numbers("factor")[1] == doctest::Approx(rising).epsilon(1e-12));
  }
}

TEST_CASE("onebit_lamb: without a floor, elements with r = 0 never move after the freeze") {
  for (const std::string message : {"update", "momentum"}) {
    const auto optimizer = make_optimizer("onebit_lamb", freeze_at(2, "variance_floor = 0\nmessage = \"" + message + "\""));
    const Tensors from = lamb_model({5000});
    TileHost host(*optimizer, from);
    host.groups[0].weight_decay = 0.1;
    Signs signs(from);
    host.mean = std::ref(signs);
    Vector before;
    while (host.number <= 30) {
      Tensors gradients = noisy(from, host.number, 0);
      if (host.number <= 2)
        for (size_t i = 0; i < from[0].size(); i += 3) gradients[0][i] = 0;
      host.step(gradients);
      if (host.number == 3) before = host.parameters[0];
    }
    for (size_t i = 0; i < from[0].size(); ++i) REQUIRE((host.parameters[0][i] == before[i]) == (i % 3 == 0));
  }
}

TEST_CASE("onebit_lamb: an exempt tensor is updated as by lamb, bit for bit, through the freeze") {
  for (const std::string message : {"update", "momentum"}) {
    const auto lamb = make_optimizer("lamb");
    const auto onebit_lamb = make_optimizer("onebit_lamb", freeze_at(5, "message = \"" + message + "\""));
    const Tensors from = lamb_model({300, 5000, 77});
    TileHost dense(*lamb, from), mixed(*onebit_lamb, from, 4096, {ONEBIT_TENSOR_DENSE, 0, ONEBIT_TENSOR_DENSE});
    Signs signs(from);
    mixed.mean = std::ref(signs);
    for (TileHost* host : {&dense, &mixed}) {
      host->gradient_scale = 0.7F;
      for (Group& group : host->groups) group.weight_decay = 0.01;
    }
    while (mixed.number <= 40) {
      const Tensors gradients = noisy(from, mixed.number, 0);
      dense.step(gradients);
      mixed.step(gradients);
      for (const size_t k : {0, 2})
        REQUIRE(std::memcmp(mixed.parameters[k].data(), dense.parameters[k].data(), from[k].size() * sizeof(float)) == 0);
      REQUIRE(std::isfinite(mixed.parameters[1][0]));
      if (mixed.number > 6) REQUIRE(mixed.message[0] == gradients[0][0] * 0.7F);
    }
    CHECK(mixed.parameters[1] != dense.parameters[1]);
  }
}

}  // namespace onebit::test
