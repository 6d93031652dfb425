// SPDX-License-Identifier: Apache-2.0
// The one pass over the gradients before the agreement: is every value finite and small enough to be squared and summed over a
// block in fp32 (at most 2^55 in magnitude), which is the largest, and what is the sum of squares.
#pragma once

#include <cstdint>

#include "onebit/arithmetic.hpp"

namespace onebit {

inline constexpr float largest_gradient = 36028797018963968.0F;  // 2^55: 2^110 * 65,536 elements stays below fp32's 2^128

// A sum of squares below 2^-100 has lost digits to underflow: it is taken again, of elements times 2^100.
inline constexpr float small_sum = 0x1p-100F, raise_small = 0x1p100F;
ONEBIT_HOST_DEVICE double without_raise(float squares) { return static_cast<double>(squares) * 0x1p-200; }

struct GradientScan {
  bool finite = true;
  float largest = 0;   // magnitude; means nothing unless finite
  double squares = 0;  // float, 32 lanes (element i in lane i mod 32), halved 16, 8, 4, 2, 1: the same everywhere
};
// squares stays 0 unless wanted.
GradientScan scan_gradient(const float* values, int64_t count, bool want_squares);

}  // namespace onebit
