// SPDX-License-Identifier: Apache-2.0
// 32 elements at a time: their signs in one word, and back. Compiled once a target, as onebit/programs/lanes.hpp is: with
// Highway's vectors where it has them, else as plain loops that any compiler can vectorise.
#include "onebit/programs/lanes.hpp"

#if defined(ONEBIT_GROUPS_HPP) == defined(HWY_TARGET_TOGGLE)  // once a target
#ifdef ONEBIT_GROUPS_HPP
#undef ONEBIT_GROUPS_HPP
#else
#define ONEBIT_GROUPS_HPP
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "arithmetic.hpp"

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {

// encode_group: new_errors = (values + errors) -+ scale; answers the word, bit i = element i is not negative.
// decode_group: out = +-scale, or out += that.

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

HWY_INLINE uint32_t pack(const uint8_t* flags) {
  uint32_t word = 0;
  for (int byte = 0; byte < 4; ++byte) {
    uint64_t eight;
    std::memcpy(&eight, flags + 8 * byte, sizeof eight);
    word |= static_cast<uint32_t>(eight * 0x0102040810204080U >> 56) << (8 * byte);  // the lowest bit of each byte
  }
  return word;
}

HWY_INLINE uint32_t encode_group(const float* values, const float* errors, float* new_errors, float scale) {
  float x[kLanes];
  uint8_t negative[kLanes];
  for (int64_t k = 0; k < kLanes; ++k) x[k] = values[k] + errors[k];
  for (int64_t k = 0; k < kLanes; ++k) negative[k] = x[k] < 0.0F ? 1 : 0;
  for (int64_t k = 0; k < kLanes; ++k) new_errors[k] = codec::new_error(x[k], scale);
  return ~pack(negative);
}

struct BitOfLane {
  constexpr BitOfLane() {
    for (uint32_t k = 0; k < kLanes; ++k) mask[k] = uint32_t{1} << k;
  }
  uint32_t mask[kLanes] = {};
};

template <bool add>
HWY_INLINE void decode_group(uint32_t word, float scale, float* HWY_RESTRICT out) {
  static constexpr BitOfLane bit;
  for (int64_t k = 0; k < kLanes; ++k) {
    const float x = codec::decoded((word & bit.mask[k]) == 0, scale);
    out[k] = add ? out[k] + x : x;
  }
}

#else

using FloatMask = hn::Mask<FloatTag>;
// As wide as a vector's bits, for a load that is wider than the store before it stalls.
using MaskBits = std::conditional_t<kWidth == 16, uint16_t, uint8_t>;
static_assert(kWidth == 4 || kWidth == 8 || kWidth == 16, "the bits of a vector fit MaskBits");

HWY_INLINE uint32_t bits_of(FloatMask mask) {
  uint8_t bytes[8];
  hn::StoreMaskBits(FloatTag(), mask, bytes);
  MaskBits bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return bits;
}
HWY_INLINE FloatMask mask_of(uint32_t bits) {
  uint8_t bytes[8] = {};
  std::memcpy(bytes, &bits, sizeof bits);
  return hn::LoadMaskBits(FloatTag(), bytes);
}

HWY_INLINE uint32_t encode_group(const float* values, const float* errors, float* new_errors, float scale) {
  const FloatTag d;
  const FloatVector plus = hn::Set(d, scale), minus = hn::Neg(plus);
  uint32_t negative = 0;
  for (int64_t k = 0; k < kVectors; ++k) {
    const FloatVector x = hn::Add(hn::LoadU(d, values + k * kWidth), hn::LoadU(d, errors + k * kWidth));
    const FloatMask is_negative = hn::Lt(x, hn::Zero(d));
    hn::StoreU(hn::Sub(x, hn::IfThenElse(is_negative, minus, plus)), d, new_errors + k * kWidth);
    negative |= bits_of(is_negative) << (k * kWidth);
  }
  return ~negative;
}

template <bool add>
HWY_INLINE void decode_group(uint32_t word, float scale, float* out) {
  const FloatTag d;
  const FloatVector plus = hn::Set(d, scale), minus = hn::Neg(plus);
  for (int64_t k = 0; k < kVectors; ++k) {
    const FloatVector x = hn::IfThenElse(mask_of(word >> (k * kWidth)), plus, minus);
    hn::StoreU(add ? hn::Add(hn::LoadU(d, out + k * kWidth), x) : x, d, out + k * kWidth);
  }
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#endif
