// SPDX-License-Identifier: Apache-2.0
// For arithmetic that is written once and used by loops on the CPU and by CUDA kernels: small functions of one element, free of
// branches, so that compilers vectorise a loop over them, and without fma, so that all of them agree to the bit.
#pragma once

// Before such a function.
#if defined(__CUDACC__)
#define ONEBIT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define ONEBIT_HOST_DEVICE inline
#endif

namespace onebit {

// As std::clamp, which CUDA does not have.
ONEBIT_HOST_DEVICE double clamped(double x, double least, double most) { return x < least ? least : most < x ? most : x; }

}  // namespace onebit
