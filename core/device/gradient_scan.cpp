// SPDX-License-Identifier: Apache-2.0
#include "device/gradient_scan.hpp"

#include <algorithm>
#include <cmath>

#include "onebit/programs/prefetch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "device/gradient_scan.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace onebit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t lanes = 32;

float sum_of_lanes(float* lane) {
  for (int64_t half = lanes / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

// Of a block whose squares are below what fp32 adds up exactly.
double small_squares(const float* values, int64_t count) {
  float lane[lanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    const float raised = values[i] * raise_small;
    lane[i % lanes] += raised * raised;
  }
  return without_raise(sum_of_lanes(lane));
}

// NaN fails every comparison, so "not at most the limit" catches it.
template <bool want_squares>
GradientScan scan(const float* HWY_RESTRICT values, int64_t count) {
  const hn::CappedTag<float, 16> d;
  constexpr int64_t width = hn::MaxLanes(d), vectors = lanes / width;
  const auto limit = hn::Set(d, largest_gradient);
  auto all_small = hn::Eq(limit, limit);
  decltype(hn::Zero(d)) sums[vectors];
  decltype(hn::Zero(d)) largest[vectors];
  for (int64_t v = 0; v < vectors; ++v) sums[v] = largest[v] = hn::Zero(d);
  const int64_t whole = count / lanes * lanes;
  for (int64_t begin = 0; begin < whole; begin += prefetch_run) {
    prefetch(values + begin);
    for (int64_t i = begin; i < run_end(begin, whole); i += lanes) {
      for (int64_t v = 0; v < vectors; ++v) {
        const auto x = hn::LoadU(d, values + i + v * width), magnitude = hn::Abs(x);
        all_small = hn::And(all_small, hn::Le(magnitude, limit));
        largest[v] = hn::Max(largest[v], magnitude);
        if constexpr (want_squares) sums[v] = hn::Add(sums[v], hn::Mul(x, x));
      }
    }
  }
  HWY_ALIGN float lane[lanes];
  for (int64_t v = 0; v < vectors; ++v) hn::StoreU(sums[v], d, lane + v * width);
  GradientScan result{hn::AllTrue(d, all_small), 0, 0};
  for (const auto& magnitude : largest) result.largest = std::max(result.largest, hn::GetLane(hn::MaxOfLanes(d, magnitude)));
  for (int64_t i = whole; i < count; ++i) {
    result.finite = result.finite && std::fabs(values[i]) <= largest_gradient;
    result.largest = std::max(result.largest, std::fabs(values[i]));
    if constexpr (want_squares) lane[i - whole] += values[i] * values[i];
  }
  if constexpr (want_squares) {
    const float squares = sum_of_lanes(lane);
    result.squares = squares < small_sum && result.largest > 0 ? small_squares(values, count) : squares;
  }
  return result;
}

GradientScan scan_with_squares(const float* values, int64_t count) { return scan<true>(values, count); }
GradientScan scan_finite(const float* values, int64_t count) { return scan<false>(values, count); }

}  // namespace onebit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {

HWY_EXPORT(scan_with_squares);
HWY_EXPORT(scan_finite);

GradientScan scan_gradient(const float* values, int64_t count, bool want_squares) {
  return want_squares ? HWY_DYNAMIC_DISPATCH(scan_with_squares)(values, count)
                      : HWY_DYNAMIC_DISPATCH(scan_finite)(values, count);
}

}  // namespace onebit
#endif
