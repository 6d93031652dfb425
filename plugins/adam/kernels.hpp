// Adam's loop over one block, compiled for every SIMD target and chosen at run time; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/frozen.hpp"

namespace onebit::kernels {

// gradient: the mean over ranks.
void update(const AdamScalars& scalars, Rates rates, int64_t count, const float* gradient, float* momentum, float* variance,
            float* parameter);

}  // namespace onebit::kernels
