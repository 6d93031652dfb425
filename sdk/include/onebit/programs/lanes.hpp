// SPDX-License-Identifier: Apache-2.0
// The order of sums: 32 lanes of float, whatever the width of a vector. Element i is added to lane i mod 32, then the lanes are
// halved 16, 8, 4, 2, 1, so that AVX-512, AVX2, SSE, plain x86-64 and CUDA give the same bits.
//
// For files that Highway compiles once a target (foreach_target.h): include it after hwy/highway.h, in every pass.
#include <hwy/highway.h>

#if defined(ONEBIT_LANES_HPP) == defined(HWY_TARGET_TOGGLE)  // once a target
#ifdef ONEBIT_LANES_HPP
#undef ONEBIT_LANES_HPP
#else
#define ONEBIT_LANES_HPP
#endif

#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;
constexpr int64_t kLanes = 32;
constexpr int64_t kWidth = HWY_LANES(float);  // of a vector; 1 on targets without vectors
constexpr int64_t kVectors = kLanes / kWidth;
static_assert(kLanes % kWidth == 0, "32 lanes are a whole number of vectors");

// Less than 32 elements, filled up with zeros.
struct Padded {
  Padded(const float* rest, int64_t count) { std::memcpy(values, rest, static_cast<size_t>(count) * sizeof(float)); }
  HWY_ALIGN float values[kLanes] = {};
};

class LaneSum {
 public:
  HWY_INLINE LaneSum() {
    for (FloatVector& lane : lanes_) lane = hn::Zero(FloatTag());
  }
  // Vector k of a group of 32: elements k * kWidth and following.
  HWY_INLINE void add(int64_t k, FloatVector v) { lanes_[k] = hn::Add(lanes_[k], v); }
  HWY_INLINE float total() const {
    HWY_ALIGN float sums[kLanes];
    for (int64_t k = 0; k < kVectors; ++k) hn::Store(lanes_[k], FloatTag(), sums + k * kWidth);
    for (int64_t width = kLanes / 2; width > 0; width /= 2)
      for (int64_t j = 0; j < width; ++j) sums[j] += sums[j + width];
    return sums[0];
  }

 private:
  FloatVector lanes_[kVectors];
};

HWY_INLINE void add_group(LaneSum& sum, const float* values) {
  for (int64_t k = 0; k < kVectors; ++k) sum.add(k, hn::LoadU(FloatTag(), values + k * kWidth));
}
inline float sum_lanes(const float* values, int64_t count) {
  LaneSum sum;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) add_group(sum, values + i);
  if (i < count) add_group(sum, Padded(values + i, count - i).values);
  return sum.total();
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#endif
