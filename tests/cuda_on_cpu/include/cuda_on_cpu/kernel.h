// SPDX-License-Identifier: Apache-2.0
// What every kernel is written in: keywords, where a thread is, and the block's barrier.
#pragma once

#include "../vector_types.h"

#define __host__
#define __device__
#define __global__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
// The blocks of a launch run one after another on one thread of the system: what is static to it is the block's.
#define __shared__ static thread_local

// Set before a thread of the grid goes on.
extern __thread uint3 threadIdx;
extern __thread uint3 blockIdx;
extern __thread dim3 blockDim;
extern __thread dim3 gridDim;
constexpr int warpSize = 32;

namespace onebit::cuda_on_cpu {

// Waits for all threads of the block that have not returned; answers for how many of them `predicate` holds.
int block_barrier(const char* name, bool predicate);
void fence();
[[noreturn]] void trap(const char* what);

}  // namespace onebit::cuda_on_cpu

inline void __syncthreads() { onebit::cuda_on_cpu::block_barrier("__syncthreads", false); }
inline int __syncthreads_count(int predicate) {
  return onebit::cuda_on_cpu::block_barrier("__syncthreads_count", predicate != 0);
}
inline int __syncthreads_or(int predicate) {
  return onebit::cuda_on_cpu::block_barrier("__syncthreads_or", predicate != 0) > 0;
}
inline int __syncthreads_and(int predicate) {
  return onebit::cuda_on_cpu::block_barrier("__syncthreads_and", predicate == 0) == 0;
}
inline void __threadfence() { onebit::cuda_on_cpu::fence(); }
inline void __threadfence_block() { onebit::cuda_on_cpu::fence(); }
inline void __threadfence_system() { onebit::cuda_on_cpu::fence(); }
[[noreturn]] inline void __trap() { onebit::cuda_on_cpu::trap("__trap"); }
