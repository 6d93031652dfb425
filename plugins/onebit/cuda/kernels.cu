// SPDX-License-Identifier: Apache-2.0
// The codec's kernels: a block of threads a piece, a warp a row of 32 elements: their 32 lanes of a sum, or their word of
// signs.
//
// Bytes of device memory an element: measure reads 8, encode reads 8 and writes 4, decode writes 4 (reads as many when it
// adds); and a bit. Each thread has 8 rows of loads under way, which hides memory's latency without asynchronous copies.
#include "kernels.hpp"

#include "onebit/cuda.hpp"

namespace onebit::codec {
namespace {

constexpr int threads = 256;
constexpr int lanes = 32;  // of a warp, of a sum, and bits of a word
constexpr int rows = 8;    // that a thread loads at once
constexpr int chunk = threads * rows;
constexpr unsigned all = 0xFFFFFFFFU;

__device__ bool skipped(const int32_t* skip) { return skip != nullptr && *skip != 0; }

struct Magnitude {
  __device__ float operator()(float x) const { return magnitude(x); }
};
struct Square {
  __device__ float operator()(float x) const { return square(x); }
};
struct ScaledSquare {
  __device__ float operator()(float x) const { return scaled_square(x, factor); }
  float factor;
};

// The sum over a piece, in every lane order that matters: element i in lane i mod 32, one after another. All threads load; the
// first warp, whose lanes those are, adds what the others brought, while they load the next chunk. Its first lane has the sum.
template <class Term>
__device__ float sum_terms(const Term& term, const float* values, const float* errors, int count, float (*loaded)[chunk]) {
  const int thread = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int first = 0, buffer = 0; first < count; first += chunk, buffer ^= 1) {
    float x[rows];
#pragma unroll
    for (int k = 0; k < rows; ++k) {
      const int i = first + k * threads + thread;
      x[k] = i < count ? values[i] + errors[i] : 0.0F;
    }
#pragma unroll
    for (int k = 0; k < rows; ++k) loaded[buffer][k * threads + thread] = x[k];
    __syncthreads();  // the warp that adds comes here with the other buffer done
    const int here = min(chunk, count - first);
    if (thread < lanes)
      for (int row = 0; row < here; row += lanes) sum += term(loaded[buffer][row + thread]);
  }
  if (thread < lanes)
    for (int width = lanes / 2; width > 0; width /= 2) sum += __shfl_down_sync(all, sum, static_cast<unsigned>(width));
  return sum;
}

// Every thread gets the sum, to decide whether it is a good one.
__device__ double sum_squares(const float* values, const float* errors, int count, float (*loaded)[chunk]) {
  __shared__ float squares;
  const float sum = sum_terms(Square(), values, errors, count, loaded);
  if (threadIdx.x == 0) squares = sum;
  __syncthreads();
  const int exponent = rescaling(squares);
  if (exponent == 0) return squares;
  return without_rescaling(sum_terms(ScaledSquare{rescaling_factor(exponent)}, values, errors, count, loaded), exponent);
}

template <Norm norm>
__global__ void __launch_bounds__(threads) measure_pieces(const onebit_piece* pieces, const int32_t* skip, const float* values,
                                                          const float* errors, double* statistics) {
  __shared__ float loaded[2][chunk];
  if (skipped(skip)) return;
  const onebit_piece piece = pieces[blockIdx.x];
  const float *own_values = values + piece.first, *own_errors = errors + piece.first;
  const int count = static_cast<int>(piece.count);
  double sum;
  if constexpr (norm == Norm::l1)
    sum = sum_terms(Magnitude(), own_values, own_errors, count, loaded);
  else
    sum = sum_squares(own_values, own_errors, count, loaded);
  if (threadIdx.x != 0) return;
  statistics[2 * piece.statistic] = sum;
  statistics[2 * piece.statistic + 1] = count;
}

// A warp a span. Its lanes load; each then adds all that they loaded, for the order of additions is part of the result.
__global__ void __launch_bounds__(threads)
    fold_runs(const onebit_run* runs, int run_count, const int32_t* skip, const double* blocks, double* spans) {
  const int span = static_cast<int>(blockIdx.x) * (threads / lanes) + static_cast<int>(threadIdx.x) / lanes;
  if (span >= run_count || skipped(skip)) return;
  const onebit_run run = runs[span];
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  double sum = 0, elements = 0;
  for (int64_t first = 0; first < run.count; first += lanes) {
    const bool there = first + lane < run.count;
    const double* own = blocks + 2 * (run.first + first + lane);
    const double block_sum = there ? own[0] : 0, block_elements = there ? own[1] : 0;
    const int here = static_cast<int>(min(static_cast<int64_t>(lanes), run.count - first));
    for (int k = 0; k < here; ++k) {
      sum += __shfl_sync(all, block_sum, k);
      elements += __shfl_sync(all, block_elements, k);
    }
  }
  if (lane >= 2) return;
  spans[2 * span + lane] = lane == 0 ? sum : elements;
}

// The rows of a warp, 8 at once: lane k keeps the word of the k-th, and the first 8 write theirs together.
__device__ void encode_rows(const float* values, const float* errors, float* new_errors, int first, int count, float scale,
                            uint32_t* words) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  float x[rows];
#pragma unroll
  for (int k = 0; k < rows; ++k) {
    const int i = first + k * lanes + lane;
    x[k] = i < count ? values[i] + errors[i] : 0.0F;
  }
  uint32_t own = 0;
#pragma unroll
  for (int k = 0; k < rows; ++k) {
    const int i = first + k * lanes + lane;
    const uint32_t word = __ballot_sync(all, i < count && !(x[k] < 0.0F));
    if (lane == k) own = word;
    if (i < count) new_errors[i] = new_error(x[k], scale);
  }
  if (lane < rows && first + lane * lanes < count) words[first / lanes + lane] = own;
}

template <Norm norm>
__global__ void __launch_bounds__(threads)
    encode_pieces(const onebit_piece* pieces, const int32_t* skip, const float* values, const float* errors, float* new_errors,
                  const double* statistics, char* payload) {
  __shared__ float shared_scale;  // dividing and taking roots in double is dear on many devices: one thread does so
  if (skipped(skip)) return;
  const onebit_piece piece = pieces[blockIdx.x];
  auto* own_payload = reinterpret_cast<uint32_t*>(payload + piece.payload);
  if (threadIdx.x == 0) {
    const double* own = statistics + 2 * piece.statistic;
    shared_scale = scale_of(norm, own[0], own[1]);
    *reinterpret_cast<float*>(own_payload) = shared_scale;
  }
  __syncthreads();
  const int count = static_cast<int>(piece.count);
  for (int first = static_cast<int>(threadIdx.x) / lanes * (rows * lanes); first < count; first += chunk)
    encode_rows(values + piece.first, errors + piece.first, new_errors + piece.first, first, count, shared_scale,
                own_payload + 1);
}

// Loads first: what is stored could be what is loaded next, as far as a compiler knows.
template <bool add>
__device__ void decode_rows(const uint32_t* words, float scale, int first, int count, float* out) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  uint32_t row_words[rows];
  float before[rows];
#pragma unroll
  for (int k = 0; k < rows; ++k) {
    const int i = first + k * threads;
    row_words[k] = i < count ? words[i / lanes] : 0;
    before[k] = add && i < count ? out[i] : 0.0F;
  }
#pragma unroll
  for (int k = 0; k < rows; ++k) {
    const int i = first + k * threads;
    const float x = decoded((row_words[k] >> lane & 1U) == 0, scale);
    if (i < count) out[i] = add ? before[k] + x : x;
  }
}

template <bool add>
__global__ void __launch_bounds__(threads)
    decode_pieces(const onebit_piece* pieces, const int32_t* skip, const char* payload, float weight, float* out) {
  if (skipped(skip)) return;
  const onebit_piece piece = pieces[blockIdx.x];
  const auto* own_payload = reinterpret_cast<const uint32_t*>(payload + piece.payload);
  const float scale = weight * __uint_as_float(own_payload[0]);
  const int count = static_cast<int>(piece.count);
  for (int first = static_cast<int>(threadIdx.x); first < count; first += chunk)
    decode_rows<add>(own_payload + 1, scale, first, count, out + piece.first);
}

int64_t blocks_of(const Pieces& pieces) { return static_cast<int64_t>(pieces.count); }

}  // namespace

void measure(const Order& order, const Pieces& pieces, Norm norm, const float* values, const float* errors,
             double* statistics) {
  const auto kernel = norm == Norm::l1 ? measure_pieces<Norm::l1> : measure_pieces<Norm::l2>;
  cuda::launch(kernel, blocks_of(pieces), threads, order.stream, pieces.first, order.skip, values, errors, statistics);
}

void fold(const Order& order, const onebit_run* runs, size_t run_count, const double* blocks, double* spans) {
  constexpr int warps = threads / lanes;
  cuda::launch(fold_runs, (static_cast<int64_t>(run_count) + warps - 1) / warps, threads, order.stream, runs,
               static_cast<int>(run_count), order.skip, blocks, spans);
}

void encode(const Order& order, const Pieces& pieces, Norm norm, const float* values, const float* errors, float* new_errors,
            const double* statistics, void* payload) {
  const auto kernel = norm == Norm::l1 ? encode_pieces<Norm::l1> : encode_pieces<Norm::l2>;
  cuda::launch(kernel, blocks_of(pieces), threads, order.stream, pieces.first, order.skip, values, errors, new_errors,
               statistics, static_cast<char*>(payload));
}

void decode(const Order& order, const Pieces& pieces, const void* payload, float weight, bool add, float* out) {
  const auto kernel = add ? decode_pieces<true> : decode_pieces<false>;
  cuda::launch(kernel, blocks_of(pieces), threads, order.stream, pieces.first, order.skip, static_cast<const char*>(payload),
               weight, out);
}

}  // namespace onebit::codec
