// SPDX-License-Identifier: Apache-2.0
// The example codecs: what their payloads say, that random ones are right on average, and that no payload makes them write
// beside a block. What every compressor must do is the conformance suite's (examples_conformance_test.cpp).
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "examples.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

Floats normal(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution;
  Floats values(count);
  for (float& value : values) value = distribution(generator);
  return values;
}

template <class T>
T at(const Bytes& payload, size_t offset) {
  T value;
  std::memcpy(&value, payload.data() + offset, sizeof value);
  return value;
}
template <class T>
void put(Bytes& payload, size_t offset, T value) {
  std::memcpy(payload.data() + offset, &value, sizeof value);
}

// The mean over many steps of what is decoded, and how far it is from the values: at most so many deviations of that mean,
// whose variance is at most most_variance / steps.
void check_unbiased(const Compressor& codec, const Floats& values, const Floats& expected, double most_variance) {
  const Blocks blocks(codec, values.size(), 6);
  const int steps = 1000;
  std::vector<double> sum(values.size());
  Floats no_errors;
  for (int step = 1; step <= steps; ++step) {
    const Batch batch = blocks.batch(static_cast<uint64_t>(step));
    const Floats decoded = decode(codec, batch, encode(codec, batch, blocks.bytes, values, no_errors), values.size());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(decoded[i]);
  }
  for (size_t i = 0; i < sum.size(); ++i)
    REQUIRE(std::fabs(sum[i] / steps - static_cast<double>(expected[i])) <= 5 * std::sqrt(most_variance / steps) + 1e-6);
}

}  // namespace

TEST_CASE("payload sizes are what the comments say") {
  const auto vote = example_codec("vote"), int8 = example_codec("int8"), topk = example_codec("topk", "ratio = 0.03");
  for (const int64_t n : {1, 31, 32, 33, 1000, 4096}) {
    CAPTURE(n);
    const auto count = static_cast<size_t>(n);
    const auto k = static_cast<size_t>(std::max(1.0, std::round(0.03 * static_cast<double>(n))));
    CHECK(vote->payload_size(n) == (count + 31) / 32 * 4);
    CHECK(int8->payload_size(n) == 4 + (count + 3) / 4 * 4);
    CHECK(topk->payload_size(n) == (6 * k + 3) / 4 * 4);
    for (size_t bits = 1; bits <= 8; ++bits)
      CHECK(example_codec("qsgd", "bits = " + std::to_string(bits))->payload_size(n) == 8 + (count * bits + 31) / 32 * 4);
    if (is_built("ternary")) CHECK(example_codec("ternary")->payload_size(n) == 4 + (count + 15) / 16 * 4);
  }
}

TEST_CASE("vote: the sign of each element, one bit, decoded as +-weight, and no errors are kept") {
  const auto codec = example_codec("vote");
  CHECK(codec->describe().feedback == 0);
  CHECK(codec->describe().statistics == 0);
  Floats values = normal(4096 + 45, 1), none;
  const Blocks blocks(*codec, values.size());
  const Bytes payload = encode(*codec, blocks.batch(), blocks.bytes, values, none);
  const Floats decoded = decode(*codec, blocks.batch(), payload, values.size(), 0.25F);
  for (size_t i = 0; i < values.size(); ++i) REQUIRE(decoded[i] == (values[i] > 0 ? 0.25F : -0.25F));
  CHECK((at<uint32_t>(payload, 0) & 1) == (values[0] > 0 ? 1 : 0));
  CHECK((at<uint32_t>(payload, blocks.bytes - 4) >> 13U) == 0);  // 45 = 32 + 13 elements in the last block
}

TEST_CASE("vote: a tie is a coin's throw, another one each step, block and element, for worker and server") {
  const auto codec = example_codec("vote");
  const Floats ties(4096);
  Floats none;
  const auto throws = [&](uint64_t step, uint64_t rank, uint64_t key) {
    const Blocks blocks(*codec, ties.size(), key);
    return decode(*codec, blocks.batch(step, rank), encode(*codec, blocks.batch(step, rank), blocks.bytes, ties, none),
                  ties.size());
  };
  const Floats first = throws(1, 0, 0);
  const auto agreement = [&](const Floats& other) {
    int same = 0;
    for (size_t i = 0; i < first.size(); ++i) same += first[i] == other[i] ? 1 : 0;
    return same;
  };
  CHECK(agreement(throws(1, 0, 0)) == 4096);
  const Floats others[] = {throws(2, 0, 0), throws(1, 1, 0), throws(1, 0, 1), throws(1, 0, 2), Floats(4096, 1.0F)};
  for (const Floats& other : others) CHECK(std::abs(agreement(other) - 2048) < 4 * 32);
}

TEST_CASE("vote: what is neither up nor down is a tie, too") {
  const auto codec = example_codec("vote");
  Floats none;
  const Blocks blocks(*codec, 4096);
  const Floats values(4096, std::numeric_limits<float>::quiet_NaN());
  const Bytes of_nothing = encode(*codec, blocks.batch(), blocks.bytes, values, none);
  for (const float almost : {0.0F, -0.0F, 1e-6F, -1e-6F})
    CHECK(encode(*codec, blocks.batch(), blocks.bytes, Floats(4096, almost), none) == of_nothing);
}

TEST_CASE("qsgd: every element within a level of its value, the least and the greatest exact") {
  for (int bits = 1; bits <= 8; ++bits) {
    CAPTURE(bits);
    const auto codec = example_codec("qsgd", "block = 64\nbits = " + std::to_string(bits));
    CHECK(codec->describe().feedback == 0);
    const Floats values = normal(64 * 5 + 7, 3);
    Floats none;
    const Blocks blocks(*codec, values.size());
    const Floats decoded =
        decode(*codec, blocks.batch(), encode(*codec, blocks.batch(), blocks.bytes, values, none), values.size());
    for (const Piece& piece : blocks.pieces) {
      const auto begin = values.begin() + piece.first, end = begin + piece.count;
      const float low = *std::min_element(begin, end), high = *std::max_element(begin, end);
      const double level = (static_cast<double>(high) - low) / ((1 << bits) - 1);
      for (auto it = begin; it != end; ++it) {
        const float there = decoded[static_cast<size_t>(it - values.begin())];
        REQUIRE(std::fabs(static_cast<double>(there) - *it) <= level * (1 + 1e-6));
        if (*it == low || *it == high) REQUIRE(there == *it);
      }
    }
  }
}

TEST_CASE("qsgd: right on average") {
  for (const int bits : {1, 2, 4}) {
    const Floats values = normal(96, 4);
    const double range = static_cast<double>(*std::max_element(values.begin(), values.end())) -
                         static_cast<double>(*std::min_element(values.begin(), values.end()));
    const double level = range / ((1 << bits) - 1);
    check_unbiased(*example_codec("qsgd", "bits = " + std::to_string(bits)), values, values, level * level / 4);
  }
}

TEST_CASE("qsgd: feedback keeps what was rounded away, and equal, huge and no finite values do no harm") {
  const auto codec = example_codec("qsgd", "bits = 2\nfeedback = true\nblock = 32");
  CHECK(codec->describe().feedback == 1);
  const float huge = std::numeric_limits<float>::max(), not_a_number = std::numeric_limits<float>::quiet_NaN();
  Floats values = normal(128, 5);
  std::fill_n(values.begin() + 32, 32, 0.7F);
  values[64] = huge, values[65] = -huge;  // whose span is no float
  std::fill_n(values.begin() + 96, 32, not_a_number);
  Floats errors = normal(128, 6);
  std::fill(errors.begin() + 32, errors.end(), 0.0F);
  const Floats before = errors;
  const Blocks blocks(*codec, values.size());
  const Floats decoded =
      decode(*codec, blocks.batch(), encode(*codec, blocks.batch(), blocks.bytes, values, errors), values.size());
  for (size_t i = 0; i < 64; ++i) REQUIRE(errors[i] == (values[i] + before[i]) - decoded[i]);
  for (size_t i = 32; i < 64; ++i) REQUIRE(decoded[i] == 0.7F);
  for (size_t i = 64; i < 96; ++i) REQUIRE(std::isfinite(decoded[i]));
  CHECK(decoded[64] == huge);
  CHECK(decoded[65] == -huge);
}

TEST_CASE("topk: the largest travel as they are, the others wait, and of equal ones the first") {
  const auto codec = example_codec("topk", "ratio = 0.125\nblock = 32");
  Floats values(40), errors(40);
  for (size_t i = 0; i < 40; ++i) values[i] = i % 2 == 0 ? 1.0F : -1.0F;
  values[7] = -5, values[20] = 3, errors[20] = 1, errors[31] = -9;
  const Floats x = [&] {
    Floats sum(40);
    for (size_t i = 0; i < 40; ++i) sum[i] = values[i] + errors[i];
    return sum;
  }();
  const Blocks blocks(*codec, 40);
  REQUIRE(blocks.pieces.size() == 2);
  const Bytes payload = encode(*codec, blocks.batch(), blocks.bytes, values, errors);
  Floats expected(40);
  for (const size_t i : {0U, 7U, 20U, 31U, 32U}) expected[i] = x[i];  // 4 of 32, 1 of 8
  CHECK(decode(*codec, blocks.batch(), payload, 40) == expected);
  for (size_t i = 0; i < 40; ++i) CHECK(errors[i] == (expected[i] != 0 ? 0 : x[i]));
  for (const auto& [place, index] : {std::pair<size_t, int>{0, 0}, {1, 7}, {2, 20}, {3, 31}})
    CHECK(at<uint16_t>(payload, 16 + 2 * place) == index);
  CHECK(at<uint16_t>(payload, blocks.bytes - 2) == 0);  // filled up
}

TEST_CASE("topk: an index beyond its block is an error, and nothing is written there") {
  const auto codec = example_codec("topk", "ratio = 0.1");
  Floats values = normal(100, 7), errors(100);
  const Blocks blocks(*codec, 100);
  Bytes payload = encode(*codec, blocks.batch(), blocks.bytes, values, errors);
  for (const int index : {100, 101, 4095, 65535}) {
    put(payload, 10 * sizeof(float) + 3 * sizeof(uint16_t), static_cast<uint16_t>(index));
    Floats out(70000, 8.0F);
    for (const bool add : {false, true})
      CHECK_THROWS_WITH_AS(
          codec->decode(blocks.batch(), payload.data(), 1, add, out.data()),
          ("compressor 'topk': a payload names element " + std::to_string(index) + " of a block that has 100").c_str(), Error);
    for (size_t i = 100; i < out.size(); ++i) REQUIRE(out[i] == 8.0F);
  }
  put(payload, 10 * sizeof(float) + 3 * sizeof(uint16_t), uint16_t{99});
  CHECK(decode(*codec, blocks.batch(), payload, 100).size() == 100);
}

TEST_CASE("topk: all of a block, and not a number, which is largest") {
  const auto all = example_codec("topk", "ratio = 1.0");
  Floats values = normal(4096 + 5, 8), errors(values.size());
  const Blocks blocks(*all, values.size());
  CHECK(decode(*all, blocks.batch(), encode(*all, blocks.batch(), blocks.bytes, values, errors), values.size()) == values);
  const auto one = example_codec("topk", "ratio = 0.0001");
  values[1234] = std::numeric_limits<float>::quiet_NaN();
  const Blocks single(*one, 4096);
  const Floats decoded = decode(*one, single.batch(), encode(*one, single.batch(), single.bytes, values, errors), 4096);
  CHECK(std::isnan(decoded[1234]));
}

TEST_CASE("int8: the nearest of 255 levels, the largest exact, and the rest kept") {
  const auto codec = example_codec("int8", "block = 128");
  Floats values = normal(300, 9), errors = normal(300, 10);
  Floats x(300);
  for (size_t i = 0; i < 300; ++i) x[i] = values[i] + errors[i];
  const Blocks blocks(*codec, 300);
  const Bytes payload = encode(*codec, blocks.batch(), blocks.bytes, values, errors);
  const Floats decoded = decode(*codec, blocks.batch(), payload, 300);
  for (const Piece& piece : blocks.pieces) {
    const auto scale = static_cast<double>(at<float>(payload, static_cast<size_t>(piece.payload)));
    for (auto i = static_cast<size_t>(piece.first); i < static_cast<size_t>(piece.first + piece.count); ++i) {
      REQUIRE(std::fabs(static_cast<double>(x[i]) - static_cast<double>(decoded[i])) <= scale * 0.5001);
      REQUIRE(errors[i] == x[i] - decoded[i]);
    }
  }
}

TEST_CASE("ternary: -s, 0 or +s, right on average, clipped where asked") {
  if (!can_try("ternary")) return;
  const auto codec = example_codec("ternary", "clip = 0");
  CHECK(codec->describe().feedback == 0);
  const Floats values = normal(90, 11);
  Floats none;
  const Blocks blocks(*codec, values.size());
  const Bytes payload = encode(*codec, blocks.batch(), blocks.bytes, values, none);
  const Floats decoded = decode(*codec, blocks.batch(), payload, values.size(), 0.5F);
  float largest = 0;
  double squares = 0;
  for (const float x : values) {
    largest = std::max(largest, std::fabs(x));
    squares += static_cast<double>(x) * static_cast<double>(x);
  }
  CHECK(at<float>(payload, 0) == largest);
  for (size_t i = 0; i < values.size(); ++i)
    REQUIRE((decoded[i] == 0 || decoded[i] == std::copysign(largest * 0.5F, values[i])));
  check_unbiased(*codec, values, values, static_cast<double>(largest) * static_cast<double>(largest) / 4);

  const auto clipped = example_codec("ternary", "clip = 1");
  const double limit = std::sqrt(squares / 90);
  CHECK(static_cast<double>(at<float>(encode(*clipped, blocks.batch(), blocks.bytes, values, none), 0)) ==
        doctest::Approx(limit));
  Floats expected = values;
  for (float& x : expected) x = std::clamp(x, static_cast<float>(-limit), static_cast<float>(limit));
  check_unbiased(*clipped, values, expected, limit * limit / 4);
}

TEST_CASE("ternary: its random numbers are those of counter_random.hpp") {
  if (!can_try("ternary")) return;
  const auto codec = example_codec("ternary", "clip = 0");
  Floats values(1024, 0.5F), none;
  values[0] = 1;  // the scale
  const Blocks blocks(*codec, 1024, 0x123456789ABCDE0);
  const Batch batch = blocks.batch(uint64_t{1} << 40, 3);
  const Floats decoded = decode(*codec, batch, encode(*codec, batch, blocks.bytes, values, none), 1024);
  const CounterRandom random(batch.step, batch.rank, blocks.pieces[0].key);
  for (size_t i = 0; i < 1024; ++i)
    REQUIRE((decoded[i] == 1) == (CounterRandom::unit(random.word(static_cast<int64_t>(i))) < values[i]));
}

TEST_CASE("ternary: a code that no encoder writes is an error") {
  if (!can_try("ternary")) return;
  const auto codec = example_codec("ternary");
  Floats values(40, 1.0F), none, out(40);
  const Blocks blocks(*codec, 40);
  Bytes payload = encode(*codec, blocks.batch(), blocks.bytes, values, none);
  put(payload, 8, at<uint32_t>(payload, 8) | 3U << 10);
  CHECK_THROWS_WITH_AS(codec->decode(blocks.batch(), payload.data(), 1, false, out.data()),
                       "compressor 'ternary': a payload gives element 21 the code 3, which is none", Error);
}
