// all_reduce's arithmetic. Elements are combined over ranks 0 to n-1 in this order, so every rank gets the same bits.
//
// Integers are added in 64 bits and cut to their own width at the end (sums wrap around, as unsigned arithmetic does); their
// average is cut towards zero. A NaN on any rank is the result of min and max, wherever it stands.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "work.hpp"

namespace onebit::threads {
namespace {

constexpr int64_t kBlock = 1024;  // elements: the accumulators stay in L1

template <class T>
using Sum =
    std::conditional_t<std::is_floating_point_v<T>, T, std::conditional_t<std::is_same_v<T, int64_t>, uint64_t, int64_t>>;

template <class T>
const T* input(const Operation& operation, int rank) {
  return reinterpret_cast<const T*>(operation.posts[rank].offer.in);
}

// Inputs are read before outputs are written, element by element: in and out may be the same tensor.
template <class A, class T, class Fold, class Finish>
void reduce_as(const Operation& operation, int64_t first, int64_t count, Fold fold, Finish finish) {
  A folded[kBlock];
  T result[kBlock];
  for (const int64_t end = first + count; first < end; first += kBlock) {
    const int64_t n = std::min(kBlock, end - first);
    const T* in = input<T>(operation, 0) + first;
    for (int64_t i = 0; i < n; ++i) folded[i] = static_cast<A>(in[i]);
    for (int rank = 1; rank < operation.size; ++rank) {
      in = input<T>(operation, rank) + first;
      for (int64_t i = 0; i < n; ++i) folded[i] = fold(folded[i], static_cast<A>(in[i]));
    }
    for (int64_t i = 0; i < n; ++i) result[i] = finish(folded[i]);
    for (int rank = 0; rank < operation.size; ++rank)
      std::memcpy(reinterpret_cast<T*>(operation.posts[rank].offer.out) + first, result, static_cast<size_t>(n) * sizeof(T));
  }
}

template <class T>
T average(Sum<T> sum, int ranks) {
  if constexpr (std::is_floating_point_v<T>) {
    return sum / static_cast<T>(ranks);
  } else {
    return static_cast<T>(static_cast<int64_t>(sum) / ranks);
  }
}

template <class T>
void reduce_typed(const Operation& operation, int64_t first, int64_t count) {
  using S = Sum<T>;
  const int ranks = operation.size;
  const auto add = [](S a, S b) { return static_cast<S>(a + b); };
  const auto keep = [](T a) { return a; };
  switch (operation.posts[0].offer.reduce) {
    case ReduceOp::sum:
      return reduce_as<S, T>(operation, first, count, add, [](S a) { return static_cast<T>(a); });
    case ReduceOp::avg:
      return reduce_as<S, T>(operation, first, count, add, [ranks](S a) { return average<T>(a, ranks); });
    case ReduceOp::min:
      return reduce_as<T, T>(
          operation, first, count, [](T a, T b) { return b < a || b != b ? b : a; }, keep);
    case ReduceOp::max:
      return reduce_as<T, T>(
          operation, first, count, [](T a, T b) { return b > a || b != b ? b : a; }, keep);
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

}  // namespace

bool can_reduce(onebit_dtype dtype) {
  return with_type(dtype, [](auto) {});
}

void reduce(const Operation& operation, int64_t first, int64_t count) {
  with_type(operation.posts[0].offer.dtype, [&](auto zero) { reduce_typed<decltype(zero)>(operation, first, count); });
}

}  // namespace onebit::threads
