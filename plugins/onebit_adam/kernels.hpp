// The loops of 1-bit Adam over one block, compiled for every SIMD target; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/adam.hpp"
#include "onebit/frozen.hpp"

namespace onebit::kernels {

struct Loops {
  // Before the freeze: Adam on the mean of the gradient.
  void (*update_dense)(const AdamScalars& s, Rates rates, int64_t count, const float* gradient, float* momentum,
                       float* variance, float* parameter);
  // At the freeze: what the mean of a tensor needs from a block, and variance -> r.
  VarianceSum (*sum_variance)(const float* variance, int64_t count);
  void (*freeze)(const AdamScalars& s, float floor, int64_t count, float* variance);
  // The message of a tensor that is exempt from compression.
  void (*scale)(float gradient_scale, int64_t count, const float* gradient, float* message);
  // After it. before: the mean of the last message; at the first compressed step the momentum.
  void (*produce)(const AdamScalars& s, float gradient_scale, float limit, int64_t count, const float* before,
                  const float* reciprocal, const float* gradient, float* message);
  void (*produce_first)(const AdamScalars& s, float gradient_scale, float limit, int64_t count, const float* before,
                        const float* reciprocal, const float* gradient, float* message);
  void (*consume)(const AdamScalars& s, Rates rates, int64_t count, const float* mean, const float* reciprocal,
                  float* parameter);
  // Where every element of the tensor is alive: updates then need no r, 4 bytes an element.
  void (*consume_alive)(const AdamScalars& s, Rates rates, int64_t count, const float* mean, const float* reciprocal,
                        float* parameter);
};
// For this processor, and for messages of updates or of the momentum.
const Loops& loops(bool of_updates);

}  // namespace onebit::kernels
