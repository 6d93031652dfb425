// SPDX-License-Identifier: Apache-2.0
// Distributed Lion against its formulas, on sessions: the majority, the average, ties, exempt tensors, one rank.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "examples.hpp"
#include "support/gradients.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors model = {Floats(5000, 0.5F), Floats(33, -1.0F)};
constexpr float kLr = 0.01F, kDecay = 0.1F;

std::string lion(const std::string& compressor = "vote", const std::string& optimizer = "", const std::string& tables = "") {
  return "[optimizer]\nplugin = \"distributed_lion\"\nlr = 0.01\nweight_decay = 0.1\n" + optimizer +
         "[compressor]\nplugin = \"" + compressor + "\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n" + tables;
}

float sign(float x) { return x > 0 ? 1.0F : x < 0 ? -1.0F : 0.0F; }

// The same by hand, all ranks in one place. mean(signs of all ranks, directions of all ranks) answers the update.
template <class Mean>
Tensors by_hand(int ranks, int steps, const Mean& mean) {
  Tensors parameters = model;
  std::vector<Tensors> momentum(static_cast<size_t>(ranks), {Floats(5000), Floats(33)});
  const auto b1 = static_cast<float>(0.9), c1 = static_cast<float>(1 - 0.9);
  const auto b2 = static_cast<float>(0.99), c2 = static_cast<float>(1 - 0.99);
  for (int step = 1; step <= steps; ++step) {
    std::vector<Tensors> gradients;
    for (int rank = 0; rank < ranks; ++rank) gradients.push_back(noisy(model, step, rank));
    for (size_t t = 0; t < model.size(); ++t)
      for (size_t i = 0; i < model[t].size(); ++i) {
        Floats directions;
        for (size_t r = 0; r < gradients.size(); ++r) {
          float& m = momentum[r][t][i];
          directions.push_back(b1 * m + c1 * gradients[r][t][i]);
          m = b2 * m + c2 * gradients[r][t][i];
        }
        float& p = parameters[t][i];
        p -= kLr * (mean(directions) + kDecay * p);
      }
  }
  return parameters;
}
float sum_of_signs(const Floats& directions) {
  float sum = 0;
  for (const float d : directions) sum += sign(d);
  return sum;
}

Tensors gradients_of(int step, int rank) { return noisy(model, step, rank); }

void check_replicas(const std::vector<Tensors>& ranks) {
  for (const Tensors& other : ranks) CHECK(other == ranks.front());
}

}  // namespace

TEST_CASE("an odd number of ranks: the majority, to the bit") {
  const auto ranks = train_examples(lion(), 3, 12, model, gradients_of);
  check_replicas(ranks);
  CHECK(ranks[0] == by_hand(3, 12, [](const Floats& directions) { return sign(sum_of_signs(directions)); }));
}

TEST_CASE("one rank: Lion itself") {
  const auto ranks = train_examples(lion(), 1, 12, model, gradients_of);
  CHECK(ranks[0] == by_hand(1, 12, [](const Floats& directions) { return sign(directions[0]); }));
}

TEST_CASE("an even number of ranks: a tie moves up as often as down, the rest by the majority") {
  const auto ranks = train_examples(lion(), 2, 1, model, gradients_of);
  check_replicas(ranks);
  const Tensors gradients[] = {gradients_of(1, 0), gradients_of(1, 1)};
  int ties = 0, up = 0;
  for (size_t i = 0; i < model[0].size(); ++i) {
    const float votes = sign(gradients[0][0][i]) + sign(gradients[1][0][i]);
    const float p = model[0][i], moved = (p - kLr * kDecay * p) - ranks[0][0][i];
    if (votes != 0) REQUIRE(moved == doctest::Approx(kLr * votes / 2).epsilon(1e-3));
    if (votes != 0) continue;
    REQUIRE(std::fabs(moved) == doctest::Approx(kLr).epsilon(1e-3));
    ++ties;
    up += moved < 0 ? 1 : 0;
  }
  CHECK(ties > 2000);
  CHECK(std::abs(up - ties / 2) < 4 * std::sqrt(ties) / 2);
}

TEST_CASE("six ranks: three sixths less three sixths is a tie, though not 0 in fp32") {
  const auto votes = [](int, int rank) { return Tensors{Floats(5000, rank < 3 ? 1.0F : -1.0F), Floats(33, -1.0F)}; };
  const auto ranks = train_examples(lion(), 6, 1, model, votes);
  check_replicas(ranks);
  const auto up = std::count_if(ranks[0][0].begin(), ranks[0][0].end(), [](float p) { return p > model[0][0]; });
  CHECK(std::abs(up - 2500) < 4 * std::sqrt(5000) / 2);
  for (const float p : ranks[0][1]) REQUIRE(p > model[1][0]);  // on which they agree
}

// By the keys that the exchange gives: 2 * block to a worker, 2 * block + 1 to the block's server.
TEST_CASE("workers and servers throw coins of their own") {
  const auto ranks = train_examples(lion(), 2, 1, model, [](int, int) { return Tensors{Floats(5000), Floats(33)}; });
  check_replicas(ranks);
  const struct { size_t tensor, first, count; } blocks[] = {{0, 0, 4096}, {0, 4096, 904}, {1, 0, 33}};
  uint64_t key = 0;
  for (const auto& block : blocks) {
    int ties = 0, by_server[2] = {0, 0};
    for (size_t k = 0; k < block.count; ++k) {
      const float p = model[block.tensor][block.first + k], now = ranks[0][block.tensor][block.first + k];
      const bool up = now < p - kLr * kDecay * p;  // a vote for +1 lowers the parameter
      const auto i = static_cast<int64_t>(k);
      const bool votes[] = {CounterRandom(1, 0, key).coin(i), CounterRandom(1, 1, key).coin(i)};
      if (votes[0] == votes[1]) REQUIRE(up == votes[0]);
      if (votes[0] == votes[1]) continue;
      ++ties;
      for (uint64_t server = 0; server < 2; ++server)
        by_server[server] += CounterRandom(1, server, key + 1).coin(i) == up ? 1 : 0;
    }
    CHECK(ties > 5);
    CHECK(std::max(by_server[0], by_server[1]) == ties);
    key += 2;
  }
}

TEST_CASE("between machines: the vote of their means") {
  const auto ranks = train_examples(lion("vote", "", "machines = 2\n[exchange]\ntopology = \"hierarchical\"\n"), 4, 3, model,
                                    [](int step, int) { return gradients_of(step, 0); });
  check_replicas(ranks);
  CHECK(ranks[0] == by_hand(1, 3, [](const Floats& directions) { return sign(directions[0]); }));
}

TEST_CASE("a compressor that is exact makes it the average of the signs") {
  const auto average = [](const Floats& directions) {
    return sum_of_signs(directions) / static_cast<float>(directions.size());
  };
  const auto ranks = train_examples(lion("vote", "", "[exchange]\ndense_below = 1000000\n"), 4, 12, model, gradients_of);
  check_replicas(ranks);
  CHECK(ranks[0] == by_hand(4, 12, average));
}

TEST_CASE("exempt tensors: Lion on the mean momentum and gradient") {
  const auto ranks = train_examples(lion("vote", "dense = [\"t1\"]\n"), 2, 6, model, gradients_of);
  check_replicas(ranks);
  const Tensors expected = by_hand(2, 6, [](const Floats& directions) { return sign((directions[0] + directions[1]) / 2); });
  CHECK(ranks[0][1] == expected[1]);
  CHECK(ranks[0][0] != expected[0]);
}

TEST_CASE("it works under other compressors, and the ranks stay together") {
  for (const std::string compressor : {"onebit", "qsgd", "topk", "int8", "ternary"}) {
    CAPTURE(compressor);
    if (!is_built(compressor == "onebit" ? "qsgd" : compressor)) continue;
    const auto ranks = train_examples(lion(compressor), 4, 8, model, gradients_of);
    check_replicas(ranks);
    CHECK(ranks[0] != std::vector<Tensors>{model}[0]);
    for (const float p : ranks[0][0]) REQUIRE(std::isfinite(p));
  }
}

TEST_CASE("any number of threads, the same coins") {
  const auto run = [](int threads) {
    return train_examples(lion("vote", "", "[session]\nthreads = " + std::to_string(threads) + "\n"), 2, 5,
                          {Floats(100000, 0.5F)}, [](int step, int rank) { return noisy({Floats(100000)}, step, rank); });
  };
  CHECK(run(1) == run(3));
}

TEST_CASE("the number of betas is checked") {
  CHECK_THROWS_WITH_AS((void)train_examples(lion("vote", "betas = [0.9]\n"), 1, 1, model, gradients_of),
                       doctest::Contains("betas has 1 values; expected two, such as [0.9, 0.99]"), Error);
}
