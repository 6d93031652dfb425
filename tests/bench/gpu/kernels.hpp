// SPDX-License-Identifier: Apache-2.0
// The benchmark's own kernels: the plainest copy there is, and what fills arrays.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace onebit::gpu_bench {

void copy(const float* from, float* to, int64_t count, cudaStream_t stream);
// Between -1 and 1, never 0, of both signs in no order.
void fill(float* values, int64_t count, uint32_t seed, cudaStream_t stream);

}  // namespace onebit::gpu_bench
