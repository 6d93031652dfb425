// SPDX-License-Identifier: Apache-2.0
// Random numbers of stochastic codecs: the construction's published values, that no two streams have anything in common, and
// that a base class gives each block its own.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>
#include <vector>

#include "onebit/compressor.hpp"
#include "onebit/counter_random.hpp"

using namespace onebit;

namespace {

constexpr int kMany = 1 << 16;

std::vector<double> units(const CounterRandom& random, int count = kMany) {
  CounterDraws draws(random);
  std::vector<double> result;
  for (int i = 0; i < count; ++i) result.push_back(static_cast<double>(draws.unit()));
  return result;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// In deviations of what independent uniform numbers would give.
double mean_off(const std::vector<double>& values) {
  return std::fabs(mean(values) - 0.5) * std::sqrt(12.0 * static_cast<double>(values.size()));
}
double correlation_off(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - 0.5) * (b[i] - 0.5) * 12;
  return std::fabs(sum) / std::sqrt(static_cast<double>(a.size()));
}

}  // namespace

TEST_CASE("Philox4x32-10: the known answers of Random123") {
  const auto answer = [](Quad counter, uint32_t key0, uint32_t key1) {
    const Quad quad = philox(counter, key0, key1);
    return std::vector<uint32_t>(quad.word, quad.word + 4);
  };
  const uint32_t ones = 0xffffffff;
  CHECK(answer({{0, 0, 0, 0}}, 0, 0) == std::vector<uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(answer({{ones, ones, ones, ones}}, ones, ones) ==
        std::vector<uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(answer({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0) ==
        std::vector<uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a number is a function of step, rank, key and element, and of all 64 bits of step and key") {
  const uint64_t wide = uint64_t{0x243f6a88} << 32;
  // counter: quad, rank, key; key: step
  const CounterRandom random(0x299f31d0a4093822, 0x85a308d3, 0x0370734413198a2e);
  const Quad expected = philox({{7, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0);
  for (int i = 0; i < 4; ++i) CHECK(random.word(4 * 7 + i) == expected.word[i]);
  std::set<uint32_t> seen;
  for (const uint64_t step : {uint64_t{0}, uint64_t{1}, wide})
    for (const uint64_t rank : {0, 1, 63})
      for (const uint64_t key : {uint64_t{0}, uint64_t{1}, uint64_t{2}, wide})
        for (const int64_t element : {0, 1, 2, 3, 4, 65535}) seen.insert(CounterRandom(step, rank, key).word(element));
  CHECK(seen.size() == 3U * 3 * 4 * 6);
}

TEST_CASE("draws are the elements' numbers, one after another") {
  const CounterRandom random(5, 1, 12);
  CounterDraws draws(random);
  for (int64_t i = 0; i < 1001; ++i) REQUIRE(draws.word() == random.word(i));
}

TEST_CASE("unit: from 0 to below 1, exact") {
  CHECK(CounterRandom::unit(0) == 0);
  CHECK(CounterRandom::unit(0xffffffff) == 1 - std::ldexp(1.0F, -24));
  CHECK(CounterRandom::unit(0x80000000) == 0.5F);
}

TEST_CASE("uniform: mean, variance, every 256th alike, every bit half of the time, runs") {
  const CounterRandom random(3, 0, 8);
  const std::vector<double> all = units(random);
  CHECK(mean_off(all) < 4);
  double squares = 0;
  for (const double u : all) squares += (u - 0.5) * (u - 0.5);
  CHECK(std::fabs(squares / kMany * 12 - 1) < 4 * std::sqrt(0.8 / kMany));  // variance of (12 (u - 1/2)^2): 4/5
  std::array<double, 256> count{};
  for (const double u : all) count[static_cast<size_t>(u * 256)] += 1;
  double chi = 0;
  for (const double n : count) chi += (n - kMany / 256.0) * (n - kMany / 256.0) / (kMany / 256.0);
  CHECK(std::fabs(chi - 255) < 4 * std::sqrt(2 * 255.0));
  for (int bit = 0; bit < 32; ++bit) {
    int set = 0;
    for (int64_t i = 0; i < kMany; ++i) set += static_cast<int>(random.word(i) >> bit & 1);
    CHECK(std::abs(set - kMany / 2) < 4 * std::sqrt(kMany) / 2);
  }
  for (const size_t lag : {1U, 2U, 3U, 4U, 32U, 4096U})
    CHECK(correlation_off({all.begin(), all.end() - static_cast<long>(lag)},
                          {all.begin() + static_cast<long>(lag), all.end()}) < 4);
}

TEST_CASE("streams of neighbours are independent: steps, ranks, blocks, worker and server") {
  const std::vector<double> here = units(CounterRandom(100, 2, 40));
  struct Neighbour {
    uint64_t step, rank, key;
  };
  for (const Neighbour& n : {Neighbour{101, 2, 40}, Neighbour{100, 3, 40}, Neighbour{100, 2, 41}, Neighbour{100, 2, 42},
                             Neighbour{100, 40, 2}, Neighbour{2, 100, 40}, Neighbour{40, 2, 100}}) {
    const std::vector<double> there = units(CounterRandom(n.step, n.rank, n.key));
    CHECK(mean_off(there) < 4);
    CHECK(correlation_off(here, there) < 4);
    CHECK(correlation_off({here.begin() + 1, here.end()}, {there.begin(), there.end() - 1}) < 4);
  }
}

TEST_CASE("across keys: the first number of four thousand blocks, and of as many steps, is uniform, too") {
  std::vector<double> blocks, steps;
  for (uint64_t i = 0; i < 4096; ++i) {
    blocks.push_back(static_cast<double>(CounterRandom::unit(CounterRandom(1, 0, 2 * i).word(0))));
    steps.push_back(static_cast<double>(CounterRandom::unit(CounterRandom(i + 1, 0, 0).word(0))));
  }
  CHECK(mean_off(blocks) < 4);
  CHECK(mean_off(steps) < 4);
  CHECK(correlation_off(blocks, steps) < 4);
}

namespace {

// Writes the first number of each block.
struct Probe final : StochasticBlockCompressor {
  Codec describe() const override { return {sizeof(Codec), 32, 0, ONEBIT_SPAN_BLOCK, 0}; }
  size_t payload_size(int64_t) const override { return sizeof(uint32_t); }
  void encode_block(const float*, const float* errors, float* new_errors, int64_t, const double*, const CounterRandom& random,
                    std::byte* payload) const override {
    CHECK(errors == nullptr);
    CHECK(new_errors == nullptr);
    const uint32_t word = random.word(0);
    std::memcpy(payload, &word, sizeof word);
  }
  void decode_block(const std::byte*, int64_t, float, bool, float*) const override {}
};

}  // namespace

TEST_CASE("a stochastic compressor's blocks have numbers of their own, whatever their batch") {
  const Probe probe;
  const Piece pieces[] = {{0, 32, 0, 0, 6}, {32, 7, 4, 1, 8}};
  uint32_t words[2] = {};
  const float values[39] = {};
  probe.encode({sizeof(Batch), 2, pieces, nullptr, 9, 3, nullptr, nullptr}, values, nullptr, nullptr, nullptr, words);
  CHECK(words[0] == CounterRandom(9, 3, 6).word(0));
  CHECK(words[1] == CounterRandom(9, 3, 8).word(0));
  words[1] = 0;
  probe.encode({sizeof(Batch), 1, pieces + 1, nullptr, 9, 3, nullptr, nullptr}, values, nullptr, nullptr, nullptr, words);
  CHECK(words[1] == CounterRandom(9, 3, 8).word(0));
}

TEST_CASE("a compressor that describes statistics but has no measure_block says so, and without statistics it is not asked") {
  struct Wide final : StochasticBlockCompressor {
    Codec describe() const override { return {sizeof(Codec), 32, 1, ONEBIT_SPAN_BLOCK, 0}; }
    size_t payload_size(int64_t) const override { return 4; }
    void encode_block(const float*, const float*, float*, int64_t, const double*, const CounterRandom&,
                      std::byte*) const override {}
    void decode_block(const std::byte*, int64_t, float, bool, float*) const override {}
  };
  const Piece piece = {0, 1, 0, 0, 0};
  const Batch batch = {sizeof(Batch), 1, &piece, nullptr, 1, 0, nullptr, nullptr};
  const float value = 1;
  double statistic = 7;
  Probe().measure(batch, &value, nullptr, &statistic);
  CHECK(statistic == 7);
  CHECK_THROWS_WITH_AS(Wide().measure(batch, &value, nullptr, &statistic), doctest::Contains("no measure_block"), Error);
}
