// SPDX-License-Identifier: Apache-2.0
// The core's own kernels: the opening of a step, and what rounds do besides calling plugins.
#include "by_thread.hpp"
#include "cuda_device.hpp"
#include "device/gradient_scan.hpp"
#include "onebit/programs/program_cuda.hpp"

namespace onebit {
namespace {

using on_cuda::is_first;
using on_cuda::is_skipped;
using on_cuda::kThreads;

// What the blocks of a scan come to. The largest magnitude is its bits, which order as unsigned numbers do, above the block
// that has it, counted down, so that of several the first counts.
struct Scan {
  unsigned long long largest;
  __host__ __device__ double* squares() { return reinterpret_cast<double*>(this + 1); }
};
constexpr unsigned kFirstBlock = 0xFFFFFFFF;

template <bool want_squares>
__global__ void scan_blocks(const Block* blocks, int64_t first, Scan* scan) {
  const auto number = static_cast<unsigned>(first + blockIdx.x);
  const Block& block = blocks[number];
  const float* __restrict__ gradient = block.gradient;
  // NaN fails every comparison, so "not at most the limit" catches it.
  const auto magnitude = [](float x) { return fabsf(x) <= largest_gradient ? fabsf(x) : HUGE_VALF; };
  float largest = 0;
  if (want_squares) {
    const on_cuda::Sums<2> found = on_cuda::sums_and_least<1>(block.count, [=](int64_t i) {
      return on_cuda::Sums<2>{{gradient[i] * gradient[i], -magnitude(gradient[i])}};
    });
    double squares = static_cast<double>(found.at[0]);
    if (found.at[0] < small_sum && found.at[1] < 0)
      squares = without_raise(on_cuda::sums<1>(block.count, [=](int64_t i) {
                                const float raised = gradient[i] * raise_small;
                                return on_cuda::Sums<1>{{raised * raised}};
                              }).at[0]);
    if (is_first()) scan->squares()[number] = squares;
    largest = -found.at[1];
  } else {
    for (auto i = static_cast<int64_t>(threadIdx.x); i < block.count; i += kThreads)
      largest = fmaxf(largest, magnitude(gradient[i]));
    for (unsigned width = 16; width > 0; width /= 2) largest = fmaxf(largest, __shfl_xor_sync(on_cuda::kAll, largest, width));
  }
  if (threadIdx.x % on_cuda::kLanes != 0) return;
  const auto bits = static_cast<unsigned long long>(__float_as_uint(largest));
  atomicMax(&scan->largest, bits << 32U | (kFirstBlock - number));
}

__device__ float largest_of(const Scan* scan) { return __uint_as_float(static_cast<unsigned>(scan->largest >> 32U)); }

// By one warp: the order of sum_by_lanes.
template <bool want_squares>
__global__ void sum_scan(const Block* blocks, Scan* scan, int64_t count, Ballot said, Words bits, Ballot* own) {
  double squares = 0;
  if (want_squares) {
    for (auto b = static_cast<int64_t>(threadIdx.x); b < count; b += on_cuda::kLanes) squares += scan->squares()[b];
    for (unsigned width = 16; width > 0; width /= 2) squares += __shfl_down_sync(on_cuda::kAll, squares, width);
  }
  auto* const words = reinterpret_cast<uint64_t*>(own + 1);
  for (auto w = static_cast<int64_t>(threadIdx.x); w < bits.count; w += on_cuda::kLanes) words[w] = bits.bits[w];
  if (!is_first()) return;
  said.largest = largest_of(scan);
  if (said.largest > 0) said.flags |= tensor_flags(blocks[kFirstBlock - static_cast<unsigned>(scan->largest)].tensor);
  said.squares = squares;
  if (said.largest == HUGE_VALF) said.flags |= ballot_not_finite;
  *own = said;
}

__global__ void silence_values(const Scan* scan, const float* gradient_scale, float* values, int64_t count) {
  if (largest_of(scan) * fabsf(*gradient_scale) <= largest_gradient) return;
  const int64_t i = number_of_thread();
  if (i < count) values[i] = 0;
}

__global__ void restore_number(const int32_t* skip, const uint64_t* before, uint64_t* number) {
  if (is_skipped(skip)) *number = *before;
}

__global__ void judge_ballots(Ballots ballots, Terms terms, Verdict* verdict) { *verdict = onebit::judge(ballots, terms); }

__global__ void scale_blocks(const Block* blocks, const float* gradient_scale, float* message, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const Block& block = blocks[blockIdx.x];
  const float scale = *gradient_scale;
  const float* __restrict__ from = block.gradient;
  float* __restrict__ to = message + block.packed;
  on_cuda::each(block.count, [=](int64_t i) { to[i] = from[i] * scale; });
}

__global__ void divide_values(float* values, int64_t count, float by, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const int64_t i = number_of_thread();
  if (i < count) values[i] /= by;
}

__global__ void spread_spans(const double* spans, const int32_t* span_of_block, int64_t blocks, int64_t width,
                             double* statistics, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const int64_t i = number_of_thread();
  if (i >= blocks * width || span_of_block[i / width] < 0) return;
  statistics[i] = spans[span_of_block[i / width] * width + i % width];
}

__global__ void swap_blocks(const Block* blocks, float* elements) {
  const Block& block = blocks[blockIdx.x];
  float* __restrict__ parameter = block.parameter;
  float* __restrict__ other = elements + block.flat;
  on_cuda::each(block.count, [=](int64_t i) {
    const float kept = parameter[i];
    parameter[i] = other[i];
    other[i] = kept;
  });
}

}  // namespace

size_t CudaDevice::scan_scratch(int64_t blocks) const { return sizeof(Scan) + static_cast<size_t>(blocks) * sizeof(double); }

void CudaDevice::begin_scan(void* scratch) const {
  cuda::check(cudaMemsetAsync(scratch, 0, sizeof(Scan), stream_), "cudaMemsetAsync");
}

void CudaDevice::scan(const onebit_block* blocks, int64_t first, int64_t count, bool want_squares, void* scratch) const {
  cuda::launch(want_squares ? scan_blocks<true> : scan_blocks<false>, count, kThreads, stream_, blocks, first,
               static_cast<Scan*>(scratch));
}

void CudaDevice::finish_scan(const onebit_block* blocks, int64_t count, bool want_squares, const Ballot& said, Words bits,
                             Ballot* own, void* scratch) const {
  cuda::launch(want_squares ? sum_scan<true> : sum_scan<false>, 1, on_cuda::kLanes, stream_, blocks,
               static_cast<Scan*>(scratch), count, said, bits, own);
}

void CudaDevice::silence(const void* scratch, const float* gradient_scale, float* values, int64_t count) const {
  cuda::launch(silence_values, thread_blocks(count), kThreads, stream_, static_cast<const Scan*>(scratch), gradient_scale,
               values, count);
}

void CudaDevice::restore(const int32_t* skip, const uint64_t* before, uint64_t* number) const {
  cuda::launch(restore_number, 1, 1, stream_, skip, before, number);
}

void CudaDevice::judge(const Ballots& ballots, const Terms& terms, Verdict* verdict) const {
  cuda::launch(judge_ballots, 1, 1, stream_, ballots, terms, verdict);
}

void CudaDevice::scale_gradients(const onebit_tile& tile, float* message) const {
  cuda::launch(scale_blocks, static_cast<int64_t>(tile.block_count), kThreads, stream_, tile.device_blocks, tile.gradient_scale,
               message, tile.skip);
}

void CudaDevice::divide(float* values, int64_t count, float by, const int32_t* skip) const {
  cuda::launch(divide_values, thread_blocks(count), kThreads, stream_, values, count, by, skip);
}

void CudaDevice::spread(const double* spans, const int32_t* span_of_block, int64_t blocks, int64_t width, double* statistics,
                        const int32_t* skip) const {
  cuda::launch(spread_spans, thread_blocks(blocks * width), kThreads, stream_, spans, span_of_block, blocks, width, statistics,
               skip);
}

void CudaDevice::swap(const onebit_block* blocks, int64_t count, float* elements) const {
  use();
  cuda::launch(swap_blocks, count, kThreads, stream_, blocks, elements);
}

}  // namespace onebit
