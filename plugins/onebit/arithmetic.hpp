// SPDX-License-Identifier: Apache-2.0
// The codec's arithmetic that does not depend on how a block is walked through.
#pragma once

#include <cfloat>
#include <cmath>

#include "onebit/arithmetic.hpp"

namespace onebit::codec {

enum class Norm { l1, l2 };

// What a sum is of: |x| (l1), x^2 (l2), or, with a factor that is a power of two, what keeps squares away from overflow and
// underflow.
ONEBIT_HOST_DEVICE float magnitude(float x) { return std::fabs(x); }
ONEBIT_HOST_DEVICE float square(float x) { return x * x; }
ONEBIT_HOST_DEVICE float scaled_square(float x, float factor) { return square(x * factor); }

// A sum of squares below 2^-100 has lost digits to underflow, one that is not finite has overflowed: such a block is summed
// again, its elements times 2^100 or 2^-100, which is exact wherever it matters. 0: the sum is good as it is.
ONEBIT_HOST_DEVICE int rescaling(float squares) { return squares < 0x1p-100F ? 100 : squares <= FLT_MAX ? 0 : -100; }

ONEBIT_HOST_DEVICE float rescaling_factor(int exponent) { return exponent > 0 ? 0x1p100F : 0x1p-100F; }
ONEBIT_HOST_DEVICE double without_rescaling(float scaled_squares, int exponent) {
  return static_cast<double>(scaled_squares) * (exponent > 0 ? 0x1p-200 : 0x1p200);  // exact: far from a double's ends
}

// The scale of a span: its mean magnitude (l1) or root mean square (l2).
ONEBIT_HOST_DEVICE float scale_of(Norm norm, double sum, double count) {
  const double mean = count > 0 ? sum / count : 0;
  return static_cast<float>(norm == Norm::l2 ? std::sqrt(mean) : mean);
}

// What one bit stands for. Only what is below zero is negative: 0, -0 and NaN are not.
ONEBIT_HOST_DEVICE float decoded(bool negative, float scale) { return negative ? -scale : scale; }
ONEBIT_HOST_DEVICE float new_error(float x, float scale) { return x - decoded(x < 0.0F, scale); }

}  // namespace onebit::codec
