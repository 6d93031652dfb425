// SPDX-License-Identifier: Apache-2.0
// Stands in for CUDA's header of the same name: half as it is stored, and its conversions, rounding to nearest even. NaN
// becomes CUDA's one NaN, both ways.
#pragma once

#include "cuda_on_cpu/intrinsics.h"
#include "cuda_runtime_api.h"

struct __half_raw {
  unsigned short x;
};

namespace onebit::cuda_on_cpu {

// What is cut off, against half of the last place that is kept: to even when it is just that.
inline unsigned round_shift(unsigned value, unsigned shift) {
  const unsigned kept = value >> shift, rest = value & ((1U << shift) - 1), half = 1U << (shift - 1);
  return kept + (rest > half || (rest == half && (kept & 1U) != 0) ? 1 : 0);
}

inline unsigned short half_of(float value) {
  const unsigned bits = bit_cast<unsigned>(value), magnitude = bits & 0x7FFFFFFFU;
  const unsigned sign = (bits >> 16) & 0x8000U;
  if (magnitude > 0x7F800000U) return 0x7FFF;
  if (magnitude >= 0x47800000U) return static_cast<unsigned short>(sign | 0x7C00U);  // 2^16 and more
  if (magnitude >= 0x38800000U) return static_cast<unsigned short>(sign | (round_shift(magnitude, 13) - (112U << 10)));
  const unsigned exponent = magnitude >> 23;
  if (exponent < 102) return static_cast<unsigned short>(sign);  // below half of the smallest denormal
  const unsigned mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
  return static_cast<unsigned short>(sign | round_shift(mantissa, 126 - exponent));
}

inline float float_of_half(unsigned short bits) {
  const unsigned sign = (bits & 0x8000U) << 16, exponent = (bits >> 10) & 0x1FU, mantissa = bits & 0x3FFU;
  if (exponent == 31) return bit_cast<float>(mantissa != 0 ? 0x7FFFFFFFU : sign | 0x7F800000U);
  if (exponent != 0) return bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace onebit::cuda_on_cpu

struct alignas(2) __half {
  __half() = default;
  __half(const __half_raw& raw) : bits(raw.x) {}
  __half(float value) : bits(onebit::cuda_on_cpu::half_of(value)) {}
  operator float() const { return onebit::cuda_on_cpu::float_of_half(bits); }
  operator __half_raw() const { return {bits}; }
  unsigned short bits;
};
struct alignas(4) __half2 {
  __half x, y;
};
typedef __half half;
typedef __half2 half2;

inline __half __float2half_rn(float value) { return {value}; }
inline __half __float2half(float value) { return {value}; }
inline float __half2float(__half value) { return value; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {__half_raw{bits}}; }
inline __half2 __halves2half2(__half low, __half high) { return {low, high}; }
inline __half2 __floats2half2_rn(float low, float high) { return {low, high}; }
inline float __low2float(__half2 pair) { return pair.x; }
inline float __high2float(__half2 pair) { return pair.y; }
inline float2 __half22float2(__half2 pair) { return {pair.x, pair.y}; }
