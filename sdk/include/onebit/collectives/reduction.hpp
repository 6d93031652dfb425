// SPDX-License-Identifier: Apache-2.0
// The arithmetic of all_reduce, for authors of communicators, on the CPU and, element by element, on a GPU. Elements are
// combined over ranks 0 to n-1 in this order, so every rank gets the same bits.
//
// Integers are added in 64 bits and cut to their own width at the end (sums wrap around, as unsigned arithmetic does); their
// average is cut towards zero. A NaN on any rank is the result of min and max, wherever it stands.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "onebit/communicator.hpp"

#if defined(__CUDACC__)
#define ONEBIT_REDUCTION_FUNCTION __host__ __device__
#else
#define ONEBIT_REDUCTION_FUNCTION
#endif

namespace onebit {

// The tensors of all ranks, in their order, as far as this process has them; elements of `dtype`. Results go to every `out`.
// An out may be one of the ins: inputs are read before outputs are written.
struct Reduction {
  ReduceOp op = ReduceOp::sum;
  onebit_dtype dtype = {ONEBIT_DTYPE_FLOAT, 32, 1};
  const void* const* in = nullptr;
  int ranks = 0;
  void* const* out = nullptr;
  int outs = 0;
};

namespace detail {

constexpr int64_t kReductionBlock = 1024;  // elements: the accumulators stay in the first-level cache

template <class T>
using Sum =
    std::conditional_t<std::is_floating_point_v<T>, T, std::conditional_t<std::is_same_v<T, int64_t>, uint64_t, int64_t>>;

template <class T>
ONEBIT_REDUCTION_FUNCTION T average(Sum<T> sum, int ranks) {
  if constexpr (std::is_floating_point_v<T>) {
    return sum / static_cast<T>(ranks);
  } else {
    return static_cast<T>(static_cast<int64_t>(sum) / ranks);
  }
}

// What becomes of one element: begin with that of rank 0, fold in that of each rank, finish.
template <class T>
struct SumFold {
  ONEBIT_REDUCTION_FUNCTION static Sum<T> begin(T first) { return static_cast<Sum<T>>(first); }
  ONEBIT_REDUCTION_FUNCTION static Sum<T> fold(Sum<T> so_far, T next) {
    return static_cast<Sum<T>>(so_far + static_cast<Sum<T>>(next));
  }
  ONEBIT_REDUCTION_FUNCTION static T finish(Sum<T> folded, int) { return static_cast<T>(folded); }
};
template <class T>
struct AverageFold : SumFold<T> {
  ONEBIT_REDUCTION_FUNCTION static T finish(Sum<T> folded, int ranks) { return average<T>(folded, ranks); }
};
template <class T>
struct MinimumFold {
  ONEBIT_REDUCTION_FUNCTION static T begin(T first) { return first; }
  ONEBIT_REDUCTION_FUNCTION static T fold(T so_far, T next) { return next < so_far || next != next ? next : so_far; }
  ONEBIT_REDUCTION_FUNCTION static T finish(T folded, int) { return folded; }
};
template <class T>
struct MaximumFold : MinimumFold<T> {
  ONEBIT_REDUCTION_FUNCTION static T fold(T so_far, T next) { return next > so_far || next != next ? next : so_far; }
};

// Calls f with the operation's fold.
template <class T, class F>
void with_fold(ReduceOp op, F&& f) {
  switch (op) {
    case ReduceOp::sum:
      return f(SumFold<T>{});
    case ReduceOp::avg:
      return f(AverageFold<T>{});
    case ReduceOp::min:
      return f(MinimumFold<T>{});
    case ReduceOp::max:
      return f(MaximumFold<T>{});
  }
}

template <class Fold, class T>
void reduce_as(const Reduction& r, int64_t first, int64_t count) {
  decltype(Fold::begin(T{})) folded[kReductionBlock];
  T result[kReductionBlock];
  for (const int64_t end = first + count; first < end; first += kReductionBlock) {
    const int64_t n = std::min(kReductionBlock, end - first);
    const T* in = static_cast<const T*>(r.in[0]) + first;
    for (int64_t i = 0; i < n; ++i) folded[i] = Fold::begin(in[i]);
    for (int rank = 1; rank < r.ranks; ++rank) {
      in = static_cast<const T*>(r.in[rank]) + first;
      for (int64_t i = 0; i < n; ++i) folded[i] = Fold::fold(folded[i], in[i]);
    }
    for (int64_t i = 0; i < n; ++i) result[i] = Fold::finish(folded[i], r.ranks);
    for (int o = 0; o < r.outs; ++o) std::memcpy(static_cast<T*>(r.out[o]) + first, result, static_cast<size_t>(n) * sizeof(T));
  }
}

// Calls f with a value of the element's type; answers whether there is one.
template <class F>
bool with_type(onebit_dtype dtype, F&& f) {
  if (dtype.lanes != 1) return false;
  const auto is = [dtype](int code, int bits) { return dtype.code == code && dtype.bits == bits; };
  if (is(ONEBIT_DTYPE_FLOAT, 32)) return f(float{}), true;
  if (is(ONEBIT_DTYPE_FLOAT, 64)) return f(double{}), true;
  if (is(ONEBIT_DTYPE_INT, 32)) return f(int32_t{}), true;
  if (is(ONEBIT_DTYPE_INT, 64)) return f(int64_t{}), true;
  if (is(ONEBIT_DTYPE_UINT, 8)) return f(uint8_t{}), true;
  return false;
}

}  // namespace detail

// Whether reduce can add such elements.
inline bool can_reduce(onebit_dtype dtype) {
  return detail::with_type(dtype, [](auto) {});
}

// Elements [first, first + count).
inline void reduce(const Reduction& reduction, int64_t first, int64_t count) {
  detail::with_type(reduction.dtype, [&](auto zero) {
    using T = decltype(zero);
    detail::with_fold<T>(reduction.op, [&](auto fold) { detail::reduce_as<decltype(fold), T>(reduction, first, count); });
  });
}

}  // namespace onebit
