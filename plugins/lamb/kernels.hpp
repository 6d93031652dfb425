// The loops of LAMB over one block, compiled for every SIMD target; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/frozen.hpp"
#include "onebit/trust_ratios.hpp"

namespace onebit::kernels {

struct Loops {
  // The first pass: momentum and variance from the mean of the gradient; sums of p^2 and u^2.
  LambSquares (*update_moments)(const AdamScalars& s, float weight_decay, int64_t count, const float* gradient, float* momentum,
                                float* variance, const float* parameter);
  // The second: p -= rate (u + decay p); rate: learning rate times coefficient.
  void (*step_by_moments)(const AdamScalars& s, Rates rates, int64_t count, const float* momentum, const float* variance,
                          float* parameter);
};
const Loops& loops();  // for this processor

}  // namespace onebit::kernels
