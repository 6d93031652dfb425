// The loops of 1-bit LAMB over one block, compiled for every SIMD target; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/frozen.hpp"
#include "onebit/trust_ratios.hpp"

namespace onebit::kernels {

// A mean is one of messages: of momentum * factor, or of updates, which need no scaling.
struct Scaling {
  float factor, inverse;
};
struct Frozen {
  const float* reciprocal;
  float* fresh;  // the corrected variance, which goes on
  float floor;   // of the variance
};
// What the factor of a tensor needs from a block: the squares of direction, update (with weight decay) and parameter, and the
// largest ratio of the roots of frozen and fresh variance.
struct FactorSums {
  float direction, update, parameter, ratio;
};

struct Loops {
  // Before the freeze, and where a tensor is exempt: LAMB, as in lamb.
  LambSquares (*update_moments)(const AdamScalars& s, float weight_decay, int64_t count, const float* gradient, float* momentum,
                                float* variance, const float* parameter);
  void (*step_by_moments)(const AdamScalars& s, Rates rates, int64_t count, const float* momentum, const float* variance,
                          float* parameter);
  // The message of an exempt tensor.
  void (*scale)(float factor, int64_t count, const float* in, float* out);
  float (*sum_squares)(const float* values, int64_t count);
  // At the freeze: variance -> r, in place; and the momentum becomes what messages are of.
  VarianceSum (*sum_variance)(const float* variance, int64_t count);
  void (*freeze)(const AdamScalars& s, float floor, Scaling scaling, int64_t count, float* momentum, float* variance,
                 float* fresh);
  // After it. before: the mean of the last message.
  void (*produce)(const AdamScalars& s, Scaling scaling, float gradient_scale, float limit, int64_t count, const float* before,
                  const float* reciprocal, const float* gradient, float* message);
  FactorSums (*refresh)(const AdamScalars& s, Scaling scaling, float weight_decay, int64_t count, const float* mean,
                        const float* before, Frozen frozen, const float* parameter);
  // The second pass. rates.learning_rate is multiplied by the tensor's coefficient and factor.
  void (*step)(const AdamScalars& s, Scaling scaling, Rates rates, int64_t count, const float* mean, const float* reciprocal,
               float* parameter);
};
// For this processor, and for messages of updates or of the momentum.
const Loops& loops(bool of_updates);

}  // namespace onebit::kernels
