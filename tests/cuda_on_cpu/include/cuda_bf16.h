// SPDX-License-Identifier: Apache-2.0
// Stands in for CUDA's header of the same name: bfloat16 as it is stored, and its conversions, rounding to nearest even. NaN
// becomes CUDA's one NaN when it is rounded.
#pragma once

#include "cuda_on_cpu/intrinsics.h"
#include "cuda_runtime_api.h"

struct __nv_bfloat16_raw {
  unsigned short x;
};

namespace onebit::cuda_on_cpu {

inline unsigned short bfloat16_of(float value) {
  const unsigned bits = bit_cast<unsigned>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return 0x7FFF;
  return static_cast<unsigned short>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}
inline float float_of_bfloat16(unsigned short bits) { return bit_cast<float>(static_cast<unsigned>(bits) << 16); }

}  // namespace onebit::cuda_on_cpu

struct alignas(2) __nv_bfloat16 {
  __nv_bfloat16() = default;
  __nv_bfloat16(const __nv_bfloat16_raw& raw) : bits(raw.x) {}
  __nv_bfloat16(float value) : bits(onebit::cuda_on_cpu::bfloat16_of(value)) {}
  operator float() const { return onebit::cuda_on_cpu::float_of_bfloat16(bits); }
  operator __nv_bfloat16_raw() const { return {bits}; }
  unsigned short bits;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

inline __nv_bfloat16 __float2bfloat16_rn(float value) { return {value}; }
inline __nv_bfloat16 __float2bfloat16(float value) { return {value}; }
inline float __bfloat162float(__nv_bfloat16 value) { return value; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {__nv_bfloat16_raw{bits}}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 low, __nv_bfloat16 high) { return {low, high}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) { return {low, high}; }
inline float __low2float(__nv_bfloat162 pair) { return pair.x; }
inline float __high2float(__nv_bfloat162 pair) { return pair.y; }
inline float2 __bfloat1622float2(__nv_bfloat162 pair) { return {pair.x, pair.y}; }
