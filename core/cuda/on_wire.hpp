// SPDX-License-Identifier: Apache-2.0
// An element as it travels or is kept, in kernels: to nearest even, as core/dtypes does it.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "dtypes/wire_type.hpp"

namespace onebit {

template <WireType type>
struct OnWire;
template <>
struct OnWire<WireType::fp32> {
  using Value = float;
  static __device__ float from(float x) { return x; }
  static __device__ float to(float x) { return x; }
};
template <>
struct OnWire<WireType::fp16> {
  using Value = __half;
  static __device__ __half from(float x) { return __float2half_rn(x); }
  static __device__ float to(__half x) { return __half2float(x); }
};
template <>
struct OnWire<WireType::bf16> {
  using Value = __nv_bfloat16;
  static __device__ __nv_bfloat16 from(float x) { return __float2bfloat16_rn(x); }
  static __device__ float to(__nv_bfloat16 x) { return __bfloat162float(x); }
};

}  // namespace onebit
