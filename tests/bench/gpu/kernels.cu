// SPDX-License-Identifier: Apache-2.0
#include "kernels.hpp"

#include "onebit/cuda.hpp"

namespace onebit::gpu_bench {
namespace {

constexpr int threads = 256;
constexpr int64_t lane = sizeof(float4) / sizeof(float);

__device__ int64_t number_of_thread() { return static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; }
int64_t blocks_for(int64_t count) { return (count + threads - 1) / threads; }

__global__ void copy_lanes(const float4* __restrict__ from, float4* __restrict__ to, int64_t lanes) {
  const int64_t i = number_of_thread();
  if (i < lanes) to[i] = from[i];
}
__global__ void copy_rest(const float* from, float* to, int64_t begin, int64_t count) {
  const int64_t i = begin + threadIdx.x;
  if (i < count) to[i] = from[i];
}

__global__ void fill_values(float* values, int64_t count, uint32_t seed) {
  const int64_t i = number_of_thread();
  if (i >= count) return;
  auto word = (static_cast<uint32_t>(i) ^ seed) * 2654435761U;
  word = (word ^ word >> 15U) * 2246822519U;
  values[i] = static_cast<float>((word >> 8U) % 2000U) / 1000.0F - 0.9995F;
}

}  // namespace

void copy(const float* from, float* to, int64_t count, cudaStream_t stream) {
  const int64_t lanes = count / lane;
  cuda::launch(copy_lanes, blocks_for(lanes), threads, stream, reinterpret_cast<const float4*>(from),
               reinterpret_cast<float4*>(to), lanes);
  if (count % lane != 0) cuda::launch(copy_rest, 1, threads, stream, from, to, lanes * lane, count);
}

void fill(float* values, int64_t count, uint32_t seed, cudaStream_t stream) {
  cuda::launch(fill_values, blocks_for(count), threads, stream, values, count, seed);
}

}  // namespace onebit::gpu_bench
