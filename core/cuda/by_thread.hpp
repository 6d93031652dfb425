// SPDX-License-Identifier: Apache-2.0
// Kernels in which each thread has an item of its own.
#pragma once

#include "onebit/programs/program_cuda.hpp"

namespace onebit {

__device__ inline int64_t number_of_thread() { return static_cast<int64_t>(blockIdx.x) * on_cuda::kThreads + threadIdx.x; }
inline int64_t thread_blocks(int64_t threads) { return (threads + on_cuda::kThreads - 1) / on_cuda::kThreads; }

}  // namespace onebit
