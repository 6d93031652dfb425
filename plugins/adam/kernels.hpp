// Adam's loop over one block, compiled for every SIMD target and chosen at run time; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/adam.hpp"

namespace onebit {

// gradient: the mean over ranks. keep = 1 - learning rate * weight decay.
void update_block(const AdamScalars& scalars, float learning_rate, float keep, int64_t count, const float* gradient,
                  float* momentum, float* variance, float* parameter);

}  // namespace onebit
