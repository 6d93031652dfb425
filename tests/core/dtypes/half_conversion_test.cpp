// SPDX-License-Identifier: Apache-2.0
// fp32 to 16 bits and back: every 16-bit number, every kind of rounding, on every target, against plain arithmetic.
#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "dtypes/dense_codec.hpp"
#include "dtypes/half_conversion.hpp"

using namespace onebit;

namespace {

struct Format {
  WireType type;
  int mantissa, smallest_exponent;  // of a normal number
  uint16_t infinity;
  double overflow;  // the first magnitude that rounds to infinity
};
const Format fp16 = {WireType::fp16, 10, -14, 0x7c00, 65520.0};
const Format bf16 = {WireType::bf16, 7, -126, 0x7f80, 0x1.ffp127};

// The nearest number of the format, ties to even, written down with doubles, which hold all that is needed exactly.
uint16_t reference(const Format& format, float value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const auto quiet = static_cast<uint32_t>(format.infinity | (1U << (format.mantissa - 1)));
  const uint32_t payload = (std::bit_cast<uint32_t>(value) & 0x7fffff) >> (23 - format.mantissa);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | quiet | payload);
  const double magnitude = std::fabs(static_cast<double>(value));
  if (magnitude >= format.overflow) return sign | format.infinity;
  const int exponent = magnitude == 0 ? format.smallest_exponent : std::max(std::ilogb(magnitude), format.smallest_exponent);
  const double units = std::nearbyint(std::ldexp(magnitude, format.mantissa - exponent));  // in the last place
  return static_cast<uint16_t>(sign | (((exponent - format.smallest_exponent) << format.mantissa) + static_cast<int>(units)));
}

float value_of(const Format& format, uint16_t half) {
  const int magnitude = half & 0x7fff, exponent = magnitude >> format.mantissa, rest = magnitude & ((1 << format.mantissa) - 1);
  double value = NAN;
  if (magnitude == format.infinity) value = INFINITY;
  if (magnitude < format.infinity)
    value = std::ldexp(rest + (exponent > 0 ? 1 << format.mantissa : 0),
                       std::max(exponent, 1) - 1 + format.smallest_exponent - format.mantissa);
  return static_cast<float>((half & 0x8000) != 0 ? -value : value);
}

// Around every number of the format: itself, the midpoint to the next, and the floats on both sides of these.
std::vector<float> interesting(const Format& format) {
  std::vector<float> values = {0.0F,    -0.0F,           INFINITY, -INFINITY,  3.4028235e38F, 1e-45F,
                               -1e-40F, 1.17549435e-38F, 65504.0F, 65519.996F, 65520.0F,      -65520.0F};
  for (const uint32_t nan : {0x7fc00000U, 0x7f800001U, 0x7fffffffU, 0xffabcdefU, 0xff802000U})
    values.push_back(std::bit_cast<float>(nan));
  for (int half = 0; half < format.infinity; ++half) {
    const float own = value_of(format, static_cast<uint16_t>(half));
    const double next =
        half + 1 < format.infinity ? static_cast<double>(value_of(format, static_cast<uint16_t>(half + 1))) : format.overflow;
    const auto middle = static_cast<float>((static_cast<double>(own) + next) / 2);
    for (const float at : {own, middle})
      for (const float x : {at, std::nextafter(at, INFINITY), std::nextafter(at, -INFINITY)})
        values.push_back(half % 2 == 0 ? x : -x);
  }
  std::mt19937 random(11);
  for (int i = 0; i < 100'000; ++i) values.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  return values;
}

template <class F>
void on_every_target(F&& check) {
  REQUIRE(hwy::SupportedAndGeneratedTargets().size() > 1);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    CAPTURE(hwy::TargetName(target));
    check();
    hwy::SetSupportedTargetsForTest(0);
  }
}

}  // namespace

TEST_CASE("rounding to 16 bits is to nearest even, bit for bit, on every target") {
  for (const Format& format : {fp16, bf16}) {
    const std::vector<float> values = interesting(format);
    std::vector<uint16_t> expected(values.size()), found(values.size());
    for (size_t i = 0; i < values.size(); ++i) expected[i] = reference(format, values[i]);
    on_every_target([&] {
      const uint64_t lost = to_half(format.type, values.data(), 1.0F, static_cast<int64_t>(values.size()), found.data());
      uint64_t zeros = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        CAPTURE(std::bit_cast<uint32_t>(values[i]));
        REQUIRE(found[i] == expected[i]);
        zeros += values[i] != 0 && (found[i] & 0x7fff) == 0 ? 1 : 0;
      }
      CHECK(lost == zeros);
      CHECK(lost > 0);
    });
  }
}

TEST_CASE("every 16-bit number comes back as the float it is, and a NaN as a quiet one with the same sign") {
  std::vector<uint16_t> halves;
  for (int half = 0; half < 0x10000; ++half) halves.push_back(static_cast<uint16_t>(half));
  std::vector<float> found(halves.size());
  for (const Format& format : {fp16, bf16})
    on_every_target([&] {
      from_half(format.type, halves.data(), static_cast<int64_t>(halves.size()), 1.0F, false, found.data());
      for (size_t i = 0; i < halves.size(); ++i) {
        CAPTURE(i);
        const uint32_t bits = std::bit_cast<uint32_t>(found[i]);
        REQUIRE((bits >> 31U) == (i >> 15U));
        if ((i & 0x7fff) > format.infinity)
          REQUIRE((bits & 0x7fc00000) == 0x7fc00000);
        else
          REQUIRE(bits == std::bit_cast<uint32_t>(value_of(format, halves[i])));
      }
    });
}

TEST_CASE("errors: to bf16 and back, streamed or not, at any place and of any number, are the bits of the conversion") {
  std::mt19937 random(3);
  std::vector<float> values;
  for (int i = 0; i < 20'000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    values.push_back(std::isnan(value) ? std::numeric_limits<float>::quiet_NaN() : value);
  }
  values[5] = std::numeric_limits<float>::infinity();
  values[6] = -std::numeric_limits<float>::max();
  const auto count = static_cast<int64_t>(values.size());
  std::vector<uint16_t> expected(values.size());
  to_half(WireType::bf16, values.data(), 1.0F, count, expected.data());
  std::vector<float> back(values.size());
  from_half(WireType::bf16, expected.data(), count, 1.0F, false, back.data());
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (const bool streamed : {false, true})
      for (const int64_t size : {int64_t{0}, int64_t{1}, int64_t{15}, int64_t{16}, int64_t{33}, int64_t{4096}, count - 64})
        for (const size_t shift : {0, 1, 16}) {
          std::vector<uint16_t> halves(values.size() + 64, 0x1234);
          const auto line = reinterpret_cast<uintptr_t>(halves.data()) % 64;
          uint16_t* const out = halves.data() + (64 - line) % 64 / 2 + shift;
          narrow(values.data() + shift, size, out, streamed);
          CHECK(std::equal(out, out + size, expected.begin() + static_cast<std::ptrdiff_t>(shift)));
          CHECK(out[size] == 0x1234);
          std::vector<float> wide(static_cast<size_t>(size) + 1, 7.0F);
          widen(out, size, wide.data());
          CHECK(std::memcmp(wide.data(), back.data() + shift, static_cast<size_t>(size) * sizeof(float)) == 0);
          CHECK(wide.back() == 7.0F);
        }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST_CASE("masters of parameters of 16 bits: those that round to their half stay as they are, the others become it") {
  for (const Format& format : {fp16, bf16}) {
    const std::vector<float> masters = interesting(format);
    const auto count = static_cast<int64_t>(masters.size());
    std::vector<uint16_t> halves(masters.size());
    to_half(format.type, masters.data(), 1.0F, count, halves.data());
    for (size_t i = 0; i < halves.size(); i += 3) halves[i] ^= static_cast<uint16_t>(1U << (i % 16));
    std::vector<float> taken = masters;
    take_halves(format.type, halves.data(), count, taken.data());
    for (size_t i = 0; i < taken.size(); ++i) {
      const float expected = i % 3 == 0 ? value_of(format, halves[i]) : masters[i];
      const bool same =
          std::isnan(expected) ? std::isnan(taken[i]) : std::bit_cast<uint32_t>(taken[i]) == std::bit_cast<uint32_t>(expected);
      if (same) continue;
      CAPTURE(i);
      CHECK(taken[i] == expected);
    }
  }
}

TEST_CASE("any number of elements, added with a weight, and nothing is touched beyond them") {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const WireType type : {WireType::fp32, WireType::fp16, WireType::bf16}) {
    const DenseCodec codec(type);
    for (const int64_t count : {1, 2, 15, 16, 17, 31, 33, 100, 4096}) {
      const auto size = static_cast<size_t>(count);
      std::vector<float> values(size), plain(size + 1, 7.0F), sum(size + 1, 7.0F);
      for (float& v : values) v = normal(random);
      REQUIRE(codec.payload_size(count) % 4 == 0);
      std::vector<std::byte> payload(codec.payload_size(count) + 1, std::byte{0x55});
      codec.encode_block(values.data(), nullptr, nullptr, count, nullptr, payload.data());
      REQUIRE(payload.back() == std::byte{0x55});
      codec.decode_block(payload.data(), count, 1.0F, false, plain.data());
      codec.decode_block(payload.data(), count, -0.3F, true, sum.data());
      const float most = type == WireType::fp32 ? 0 : type == WireType::fp16 ? 0x1p-11F : 0x1p-8F;
      for (size_t i = 0; i < size; ++i) {
        REQUIRE(std::fabs(plain[i] - values[i]) <= most * std::fabs(values[i]) + 0x1p-25F);
        const float product = -0.3F * plain[i];
        REQUIRE(sum[i] == 7.0F + product);
      }
      REQUIRE(plain[size] == 7.0F);
      REQUIRE(sum[size] == 7.0F);
    }
  }
}

TEST_CASE("the largest magnitude is found at every place, on every target, as bits") {
  for (const float largest : {3.0F, -3e38F, 1e-42F, 0.0F, -INFINITY, NAN})
    on_every_target([&] {
      for (const size_t size : {1U, 15U, 16U, 17U, 100U})
        for (size_t at = 0; at < size; ++at) {
          std::vector<float> values(size, 0.25F * (std::isfinite(largest) ? largest : 1.0F));
          values[at] = largest;
          REQUIRE(largest_magnitude(values.data(), static_cast<int64_t>(size)) ==
                  (std::bit_cast<uint32_t>(largest) & 0x7fffffffU));
        }
    });
}

TEST_CASE("fp16 has a unit a block: of every size all is kept down to 2^-39 of the largest, and the rest is counted") {
  for (int exponent = -149; exponent <= 127; ++exponent) {
    CAPTURE(exponent);
    const float largest = std::ldexp(exponent > -127 ? 1.9990234F : 1.0F, exponent);
    std::vector<float> values = {largest, -largest, 0.0F, -0.0F};
    for (int below = 1; below <= 45; ++below) values.push_back(std::ldexp(-1.0F, exponent - below));
    uint64_t vanished = 0, expected = 0;
    const DenseCodec codec(WireType::fp16, &vanished);
    std::vector<std::byte> payload(codec.payload_size(static_cast<int64_t>(values.size())));
    std::vector<float> back(values.size());
    codec.encode_block(values.data(), nullptr, nullptr, static_cast<int64_t>(values.size()), nullptr, payload.data());
    codec.decode_block(payload.data(), static_cast<int64_t>(values.size()), 1.0F, false, back.data());
    for (size_t i = 0; i < values.size(); ++i) {
      CAPTURE(values[i]);
      const bool vanishes = i >= 4 + 38 && values[i] != 0;  // 2^-39 is half of the last place
      REQUIRE(back[i] == (vanishes ? 0.0F : values[i]));
      expected += vanishes ? 1 : 0;
    }
    REQUIRE(vanished == expected);
  }
}

TEST_CASE("fp16: a block of nothing is nothing, and what is not finite stays so") {
  const DenseCodec codec(WireType::fp16);
  for (const float value : {0.0F, INFINITY, -INFINITY, NAN}) {
    std::vector<float> values = {1.0F, value, 2.0F}, back(3);
    if (value == 0) values = {0.0F, 0.0F, 0.0F};
    std::vector<std::byte> payload(codec.payload_size(3));
    codec.encode_block(values.data(), nullptr, nullptr, 3, nullptr, payload.data());
    codec.decode_block(payload.data(), 3, 1.0F, false, back.data());
    CHECK((std::isnan(value) ? std::isnan(back[1]) : back[1] == value));
  }
}
