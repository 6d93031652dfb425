// SPDX-License-Identifier: Apache-2.0
// The yardstick: what this machine's memory gives to the plainest loop there is, a[i] = b[i] + s * c[i], over arrays far larger
// than any cache. 16 bytes an element: b and c are read, a is read into the cache before it is written, and written back.
#pragma once

#include <cstdint>

#include "device/buffer.hpp"

namespace onebit::bench {

inline constexpr int64_t mega = int64_t{1} << 20;

class Triad {
 public:
  static constexpr int64_t elements = 64 * mega;
  static constexpr double bytes_per_element = 16;

  Triad();
  // Bytes a second, of threads that share the arrays.
  double bandwidth(int threads) const;

 private:
  MemoryMeter meter_;
  Buffer a_, b_, c_;
};

}  // namespace onebit::bench
