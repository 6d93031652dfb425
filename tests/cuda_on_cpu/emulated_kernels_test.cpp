// SPDX-License-Identifier: Apache-2.0
// The emulation of CUDA on the CPU: what kernels do with it. Barriers, warps, atomics, and what is said of kernels that are
// wrong.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "cuda_on_cpu/control.hpp"
#include "emulated_device.hpp"

namespace onebit::test {
namespace {

namespace emulation = cuda_on_cpu;

__global__ void count_visits(int* visits, unsigned width, unsigned height) {
  const unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  const unsigned z = blockIdx.z * blockDim.z + threadIdx.z;
  atomicAdd(&visits[(z * height + y) * width + x], 1);
}

// Each block turns its part around, through shared memory, `times` over; threads from `there` on return at once.
__global__ void turn_around(int* values, int times, unsigned there) {
  __shared__ int part[256];
  int* own = values + blockIdx.x * blockDim.x;
  if (threadIdx.x >= there) return;
  for (int i = 0; i < times; ++i) {
    part[threadIdx.x] = own[threadIdx.x];
    __syncthreads();
    own[threadIdx.x] = part[there - 1 - threadIdx.x];
    __syncthreads();
  }
}

__global__ void shuffle_all(unsigned mask, int operand, int width, int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  if ((mask >> lane & 1U) == 0) return;
  const int value = 100 + lane;
  out[lane] = __shfl_sync(mask, value, operand, width);
  out[32 + lane] = __shfl_up_sync(mask, value, static_cast<unsigned>(operand), width);
  out[64 + lane] = __shfl_down_sync(mask, value, static_cast<unsigned>(operand), width);
  out[96 + lane] = __shfl_xor_sync(mask, value, operand, width);
}

__global__ void halve(const double* in, double* out) {
  double sum = in[threadIdx.x];
  for (unsigned width = 16; width > 0; width /= 2) sum += __shfl_down_sync(0xFFFFFFFFU, sum, width);
  if (threadIdx.x % 32 == 0) out[threadIdx.x / 32] = sum;
}

__global__ void vote(unsigned* out) {
  const bool odd = threadIdx.x % 2 == 1;
  const unsigned half = threadIdx.x % 32 < 16 ? 0xFFFFU : 0xFFFF0000U;
  unsigned* own = out + 5 * threadIdx.x;
  own[0] = __ballot_sync(0xFFFFFFFFU, odd);
  own[1] = half == 0xFFFFU ? __ballot_sync(half, odd) : __ballot_sync(half, true);  // the halves do not meet
  own[2] = static_cast<unsigned>(__any_sync(0xFFFFFFFFU, threadIdx.x == 40));
  own[3] = static_cast<unsigned>(__all_sync(0xFFFFFFFFU, threadIdx.x < 40));
  own[4] = static_cast<unsigned>(__syncthreads_count(odd) + 1000 * __syncthreads_or(threadIdx.x == 3) +
                                 2000 * __syncthreads_and(threadIdx.x < 48));
}

__global__ void add_up(float* sum, unsigned* most, unsigned long long* bits, int* once) {
  atomicAdd(sum, 1.0F);
  atomicMax(most, blockIdx.x * blockDim.x + threadIdx.x);
  atomicOr(bits, 1ULL << (threadIdx.x % 64));
  if (atomicCAS(once, 0, 7) == 0) atomicAdd(once, 1);
}

__global__ void some_reach_the_barrier() {
  if (threadIdx.x < 5) __shfl_sync(0x1FU | 1U << 9, 1, 0);
  __syncthreads();
}
__global__ void a_lane_outside_of_its_mask() { __syncwarp(0x0000FFFEU); }
__global__ void a_lane_that_has_returned(int* out) {
  if (threadIdx.x == 3) return;
  *out = __shfl_sync(0xFFFFFFFFU, 1, 3);
}
__global__ void traps() { __trap(); }
__global__ void store(int* out, int value) { *out = value; }

// What is said of one launch that goes wrong; its stream fails for good.
template <class... P, class... A>
std::string mishap(int threads, void (*kernel)(P...), A... args) {
  const emulation::Mishaps mishaps;
  const TestStream stream;
  launch(stream, 1, threads, kernel, args...);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure);
  CHECK(cudaStreamQuery(stream) == cudaErrorLaunchFailure);
  DeviceArray<int> untouched(std::vector<int>{1});
  CHECK(cudaMemsetAsync(untouched.data(), 0, sizeof(int), stream) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure);
  CHECK(untouched.get() == std::vector<int>{1});
  const auto messages = mishaps.messages();
  REQUIRE(messages.size() == 1);
  return messages[0];
}

}  // namespace

TEST_CASE("every thread of a grid runs once") {
  const TestStream stream;
  const dim3 grid(3, 2, 2), block(5, 4, 3);
  DeviceArray<int> visits(std::vector<int>(15 * 8 * 6));
  cudaLaunchConfig_t config = {grid, block, 0, stream, nullptr, 0};
  CHECK(cudaLaunchKernelEx(&config, count_visits, visits.data(), 15, 8U) == cudaSuccess);
  int* pointer = visits.data();
  unsigned width = 15, height = 8;
  void* args[] = {&pointer, &width, &height};
  CHECK(cudaLaunchKernel(count_visits, grid, block, args, 0, stream) == cudaSuccess);
  CHECK(cudaLaunchKernelExC(&config, count_visits, args) == cudaSuccess);
  pointer = nullptr;  // the arguments were copied
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(visits.get() == std::vector<int>(15 * 8 * 6, 3));
}

TEST_CASE("a launch that no device could run is refused") {
  const TestStream stream;
  DeviceArray<int> out(std::vector<int>(1));
  for (const auto& [grid, block] :
       std::vector<std::pair<dim3, dim3>>{{0, 32}, {1, 0}, {1, 1025}, {{1, 65536, 1}, 32}, {1, {1, 1, 65}}, {1, {32, 33, 1}}}) {
    const cudaLaunchConfig_t config = {grid, block, 0, stream, nullptr, 0};
    CHECK(cudaLaunchKernelEx(&config, store, out.data(), 1) == cudaErrorInvalidConfiguration);
    CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
    CHECK(cudaGetLastError() == cudaSuccess);
  }
  const cudaLaunchConfig_t nowhere = {1, 1, 0, nullptr, nullptr, 0};
  CHECK(cudaLaunchKernelEx(&nowhere, store, out.data(), 1) == cudaErrorInvalidResourceHandle);
}

TEST_CASE("__syncthreads: nobody goes on before all have come, and those who returned are not waited for") {
  const TestStream stream;
  for (const unsigned there : {256U, 255U, 32U, 1U}) {
    std::vector<int> expected(3 * 256);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<int>(i);
    DeviceArray<int> values(expected);
    launch(stream, 3, 256, turn_around, values.data(), 7, there);
    for (size_t b = 0; b < 3; ++b)
      std::reverse(expected.begin() + static_cast<int>(b) * 256, expected.begin() + static_cast<int>(b * 256 + there));
    CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(values.get() == expected);
  }
}

TEST_CASE("shuffles, as CUDA describes them") {
  const TestStream stream;
  for (const unsigned mask : {0xFFFFFFFFU, 0x0000FFFFU})
    for (const int width : {32, 8, 1})
      for (const int operand : {0, 1, 5, 9}) {
        CAPTURE(mask);
        CAPTURE(width);
        CAPTURE(operand);
        DeviceArray<int> out(std::vector<int>(128, -1));
        if (mask == 0xFFFFU && (operand > 0 && width == 32)) continue;  // would read lanes that do not take part
        launch(stream, 1, 32, shuffle_all, mask, operand, width, out.data());
        CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
        const std::vector<int> seen = out.get();
        for (int lane = 0; lane < (mask == 0xFFFFU ? 16 : 32); ++lane) {
          const int first = lane / width * width, last = first + width - 1;
          const auto at = [&](int row) {
            return seen[static_cast<size_t>(32) * static_cast<size_t>(row) + static_cast<size_t>(lane)] - 100;
          };
          CHECK(at(0) == first + operand % width);
          CHECK(at(1) == (lane - operand >= first ? lane - operand : lane));
          CHECK(at(2) == (lane + operand <= last ? lane + operand : lane));
          CHECK(at(3) == ((lane ^ operand) <= last ? lane ^ operand : lane));
        }
      }
}

TEST_CASE("lanes halved by shuffles add in the order of sums") {
  const TestStream stream;
  std::vector<double> values(96);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 1.0 / static_cast<double>(i + 1);
  DeviceArray<double> in(values), out(std::vector<double>(3));
  launch(stream, 1, 96, halve, in.data(), out.data());
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  for (size_t warp = 0; warp < 3; ++warp) {
    for (size_t width = 16; width > 0; width /= 2)
      for (size_t i = 0; i < width; ++i) values[32 * warp + i] += values[32 * warp + i + width];
    CHECK(out.get()[warp] == values[32 * warp]);
  }
}

TEST_CASE("votes of a warp, of half a warp, of a last warp that is not full, and of a block") {
  const TestStream stream;
  DeviceArray<unsigned> out(std::vector<unsigned>(5 * 48));
  launch(stream, 1, 48, vote, out.data());
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  const std::vector<unsigned> seen = out.get();
  for (size_t i = 0; i < 48; ++i) {
    const unsigned* own = &seen[5 * i];
    CHECK(own[0] == (i < 32 ? 0xAAAAAAAAU : 0xAAAAU));
    CHECK(own[1] == (i % 32 < 16 ? 0xAAAAU : 0xFFFF0000U));
    CHECK(own[2] == (i < 32 ? 0U : 1U));
    CHECK(own[3] == (i < 32 ? 1U : 0U));
    CHECK(own[4] == 24 + 1000 + 2000);
  }
}

TEST_CASE("atomics: kernels of several streams, launched by several threads") {
  DeviceArray<float> sum(std::vector<float>(1));
  DeviceArray<unsigned> most(std::vector<unsigned>(1));
  DeviceArray<unsigned long long> bits(std::vector<unsigned long long>(1));
  DeviceArray<int> once(std::vector<int>(1));
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      const TestStream stream;
      for (int i = 0; i < 10; ++i) launch(stream, 4, 128, add_up, sum.data(), most.data(), bits.data(), once.data());
      CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(sum.get()[0] == 3 * 10 * 4 * 128);
  CHECK(most.get()[0] == 4 * 128 - 1);
  CHECK(bits.get()[0] == ~0ULL);
  CHECK(once.get()[0] == 8);
}

TEST_CASE("a barrier that not all threads reach is said, not waited for") {
  const std::string message = mishap(64, some_reach_the_barrier);
  CHECK(message.find("thread (0, 0, 0) waits in __shfl_sync for lanes that do not come to it") != std::string::npos);
  CHECK(message.find("thread (5, 0, 0) waits in __syncthreads") != std::string::npos);
  CHECK(message.find("59 threads wait in a barrier of the block, 5 in one of their warp, 0 have returned") !=
        std::string::npos);
}

TEST_CASE("lanes that CUDA leaves undefined are said") {
  CHECK(mishap(32, a_lane_outside_of_its_mask).find("__syncwarp: the mask does not name the calling lane") !=
        std::string::npos);
  DeviceArray<int> out(std::vector<int>(1));
  CHECK(mishap(32, a_lane_that_has_returned, out.data()).find("reads lane 3, which is not in the mask or has returned") !=
        std::string::npos);
  CHECK(mishap(1, traps).find("block (0, 0, 0), thread (0, 0, 0): __trap was called") != std::string::npos);
}

TEST_CASE("after a kernel that went wrong other streams go on") {
  (void)mishap(64, some_reach_the_barrier);
  const TestStream stream;
  DeviceArray<int> values(std::vector<int>{1, 2, 3, 4});
  launch(stream, 1, 4, turn_around, values.data(), 1, 4U);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(values.get() == std::vector<int>{4, 3, 2, 1});
}

}  // namespace onebit::test
