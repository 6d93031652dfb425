// The codec's arithmetic that does not depend on how a block is walked through.
#pragma once

#include <cfloat>
#include <cmath>

#include "onebit/arithmetic.hpp"

namespace onebit::codec {

enum class Norm { l1, l2 };

// A sum of squares below 2^-100 has lost digits to underflow, one that is not finite has overflowed: such a block is summed
// again, its elements times 2^100 or 2^-100, which is exact wherever it matters. 0: the sum is good as it is.
ONEBIT_HOST_DEVICE int rescaling(float squares) { return squares < 0x1p-100F ? 100 : squares <= FLT_MAX ? 0 : -100; }

// The scale of a span: its mean magnitude (l1) or root mean square (l2).
ONEBIT_HOST_DEVICE float scale_of(Norm norm, double sum, double count) {
  const double mean = count > 0 ? sum / count : 0;
  return static_cast<float>(norm == Norm::l2 ? std::sqrt(mean) : mean);
}

}  // namespace onebit::codec
