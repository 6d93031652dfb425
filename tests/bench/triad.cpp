// SPDX-License-Identifier: Apache-2.0
#include "triad.hpp"

#include <algorithm>

#include "clock.hpp"

namespace onebit::bench {
namespace {

constexpr size_t array_bytes = Triad::elements * sizeof(float);

void triad(float* __restrict a, const float* __restrict b, const float* __restrict c, int64_t count) {
  constexpr float s = 3;
  for (int64_t i = 0; i < count; ++i) a[i] = b[i] + s * c[i];
}

}  // namespace

Triad::Triad() : a_(meter_, array_bytes), b_(meter_, array_bytes), c_(meter_, array_bytes) {
  std::fill_n(a_.as<float>(), elements, 0.0f);  // every page is there before the clock starts
  std::fill_n(b_.as<float>(), elements, 1.0f);
  std::fill_n(c_.as<float>(), elements, 2.0f);
}

double Triad::bandwidth(int threads) const {
  const double seconds = seconds_on(threads, [&](int thread) {
    const int64_t first = elements * thread / threads, last = elements * (thread + 1) / threads;
    triad(a_.as<float>() + first, b_.as<float>() + first, c_.as<float>() + first, last - first);
  });
  return elements * bytes_per_element / seconds;
}

}  // namespace onebit::bench
