// SPDX-License-Identifier: Apache-2.0
// Programs on CUDA (program.hpp): 256 threads run one program, a kernel runs all programs of a tile.
#pragma once

#include <cmath>
#include <cstdint>

#include "onebit/cuda.hpp"
#include "onebit/programs/view.hpp"

#define ONEBIT_PROGRAMS \
  namespace onebit {    \
  namespace on_cuda {
#define ONEBIT_END_PROGRAMS \
  }                         \
  }
#define ONEBIT_LOOP __device__ __forceinline__
#define ONEBIT_BODY

ONEBIT_PROGRAMS

template <class Element>
using InputOf = const Element* __restrict__;
template <class Element>
using OutputOf = Element* __restrict__;
using Input = InputOf<float>;
using Output = OutputOf<float>;

constexpr int kThreads = 256;
constexpr int kLanes = 32;
constexpr unsigned kAll = 0xffffffffU;

ONEBIT_LOOP bool is_first() { return threadIdx.x == 0; }
// The flag of a tile, totals or batch.
ONEBIT_LOOP bool is_skipped(const int32_t* skip) { return skip != nullptr && *skip != 0; }

template <class F, class... Arrays>
ONEBIT_LOOP void each(int64_t count, F f, const Arrays*...) {
  for (auto i = static_cast<int64_t>(threadIdx.x); i < count; i += kThreads) f(i);
}

template <int n>
struct Sums {
  float at[n];
};

// How many elements' terms are in shared memory at a time, and so under way from memory at once; and of how many sums.
constexpr int kStaged = 1024;
constexpr int kMostSums = 4;

struct Staged {
  float terms[kMostSums][kStaged];
  float results[kMostSums];
};
// One for all sums of a program, which takes them one after another.
ONEBIT_LOOP Staged& staging() {
  __shared__ Staged memory;
  return memory;
}

// The terms of the elements from `begin` on; 0 beyond the end. All threads find them, none returns before they are there.
template <int n, class F>
ONEBIT_LOOP void stage_terms(Staged& staged, int64_t begin, int64_t count, F& f) {
  for (int k = static_cast<int>(threadIdx.x); k < kStaged; k += kThreads) {
    Sums<n> found = {};
    if (begin + k < count) found = f(begin + k);
    for (int t = 0; t < n; ++t) staged.terms[t][k] = found.at[t];
  }
  __syncthreads();
}

// Warp t adds up the terms t, lane by lane, while other blocks of the processor load theirs. least: of the last terms the least
// is kept, and those beyond the end do not count.
template <int n, bool least, class F>
ONEBIT_LOOP Sums<n> fold_terms(int64_t count, F f) {
  static_assert(n <= kMostSums && n <= kThreads / kLanes, "a warp for each sum");
  Staged& staged = staging();
  const int warp = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  const bool is_least = least && warp == n - 1;
  float folded = is_least ? HUGE_VALF : 0.0f;
  for (int64_t begin = 0; begin < count; begin += kStaged) {
    stage_terms<n>(staged, begin, count, f);
    if (warp < n && !is_least)
      for (int k = lane; k < kStaged; k += kLanes) folded = folded + staged.terms[warp][k];
    if (is_least)
      for (int k = lane; k < kStaged && begin + k < count; k += kLanes)
        folded = staged.terms[warp][k] < folded ? staged.terms[warp][k] : folded;
    __syncthreads();
  }
  if (warp < n) {
    for (int width = kLanes / 2; width > 0; width /= 2) {
      const float other = __shfl_down_sync(kAll, folded, static_cast<unsigned>(width));
      folded = is_least ? (other < folded ? other : folded) : folded + other;
    }
    if (lane == 0) staged.results[warp] = folded;
  }
  __syncthreads();
  Sums<n> result;
  for (int t = 0; t < n; ++t) result.at[t] = staged.results[t];
  __syncthreads();  // before the memory serves the next sums
  return result;
}

template <int n, class F>
ONEBIT_LOOP Sums<n> sums(int64_t count, F f) {
  return fold_terms<n, false>(count, f);
}
template <int n, class F>
ONEBIT_LOOP Sums<n + 1> sums_and_least(int64_t count, F f) {
  return fold_terms<n + 1, true>(count, f);
}

// One thread adds what all have loaded. fold(so far, number of a block).
template <class Fold>
ONEBIT_LOOP double fold_blocks(const View& view, int64_t tensor, int slot, double start, Fold fold) {
  __shared__ double loaded[kThreads];
  const int64_t end = view.first_block[tensor + 1];
  double folded = start;
  for (int64_t begin = view.first_block[tensor]; begin < end; begin += kThreads) {
    const int64_t own = begin + static_cast<int64_t>(threadIdx.x);
    if (own < end) loaded[threadIdx.x] = doubles(view, slot)[own];
    __syncthreads();
    if (is_first())
      for (int64_t k = 0; k < kThreads && begin + k < end; ++k) folded = fold(folded, loaded[k]);
    __syncthreads();
  }
  if (is_first()) loaded[0] = folded;
  __syncthreads();
  folded = loaded[0];
  __syncthreads();
  return folded;
}
ONEBIT_LOOP double sum_of_blocks(const View& view, int64_t tensor, int slot) {
  return fold_blocks(view, tensor, slot, 0.0, [](double sum, double block) { return sum + block; });
}
ONEBIT_LOOP double least_of_blocks(const View& view, int64_t tensor, int slot) {
  return fold_blocks(view, tensor, slot, HUGE_VAL, [](double least, double block) { return block < least ? block : least; });
}

template <class Program, class Pass>
__global__ void run_blocks(const __grid_constant__ Pass pass, const __grid_constant__ View view, const Block* blocks,
                           const int32_t* skip) {
  if (!is_skipped(skip)) Program::run(pass, view, blocks[blockIdx.x]);
}
template <class Program, class Pass>
__global__ void run_tensors(const __grid_constant__ Pass pass, const __grid_constant__ View view, const int32_t* skip) {
  if (!is_skipped(skip)) Program::run(pass, view, static_cast<int64_t>(blockIdx.x));
}
template <class Program, class Pass>
__global__ void run_model(const __grid_constant__ Pass pass, const __grid_constant__ View view, const int32_t* skip) {
  if (!is_skipped(skip)) Program::run(pass, view);
}

template <class Program, class Pass>
void over_blocks(const Pass& pass, const View& view, const Tile& tile) {
  cuda::launch(run_blocks<Program, Pass>, static_cast<int64_t>(tile.block_count), kThreads, cuda::stream_of(tile.stream), pass,
               view, tile.device_blocks, tile.skip);
}
template <class Program, class Pass>
void over_tensors(const Pass& pass, const View& view, const Totals& totals) {
  cuda::launch(run_tensors<Program, Pass>, totals.tensor_count, kThreads, cuda::stream_of(totals.stream), pass, view,
               totals.skip);
}
template <class Program, class Pass>
void over_model(const Pass& pass, const View& view, const Totals& totals) {
  cuda::launch(run_model<Program, Pass>, 1, 1, cuda::stream_of(totals.stream), pass, view, totals.skip);
}

ONEBIT_END_PROGRAMS
