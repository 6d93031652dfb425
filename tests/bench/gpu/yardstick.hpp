// SPDX-License-Identifier: Apache-2.0
// The yardstick: what this device's memory gives to a copy of an array to another, by the better of two ways. 8 bytes an
// element: 4 are read, 4 written.
#pragma once

#include <cstdint>

#include "device/buffer.hpp"
#include "stopwatch.hpp"

namespace onebit::gpu_bench {

class Yardstick {
 public:
  static constexpr double bytes_per_element = 8;
  enum class Way { memcpy, kernel };

  Yardstick(MemoryMeter& meter, int64_t elements, cudaStream_t stream);
  int64_t elements() const { return elements_; }
  double seconds(Way way);
  // Of the way that was chosen.
  double bandwidth() { return static_cast<double>(elements_) * bytes_per_element / seconds(way_); }
  void choose(Way way) { way_ = way; }

 private:
  int64_t elements_;
  cudaStream_t stream_;
  Buffer from_, to_;
  Stopwatch stopwatch_;
  Way way_ = Way::kernel;
};

}  // namespace onebit::gpu_bench
