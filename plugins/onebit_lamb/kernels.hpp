// The loops of 1-bit LAMB over one block, compiled for every SIMD target and chosen at run time; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/frozen.hpp"
#include "onebit/trust_ratios.hpp"

namespace onebit::kernels {

// Before the freeze, and where a tensor is exempt: LAMB, as in lamb.
LambSquares update_moments(const AdamScalars& s, float weight_decay, int64_t count, const float* gradient, float* momentum,
                           float* variance, const float* parameter);
void step_by_moments(const AdamScalars& s, Rates rates, int64_t count, const float* momentum, const float* variance,
                     float* parameter);
// The message of an exempt tensor; and the momentum in the units of messages.
void scale(float factor, int64_t count, const float* in, float* out);

// At the freeze.
VarianceSum sum_variance(const float* variance, int64_t count);
float sum_squares(const float* values, int64_t count);
// variance -> r, in place; fresh: the corrected variance.
void freeze(const AdamScalars& s, float floor, int64_t count, float* variance, float* fresh);
void precondition(int64_t count, const float* reciprocal, float* momentum);

// After it. A mean is one of messages: of momentum * scaling (message = "momentum"), or of updates.
struct Scaling {
  float factor, inverse;
};
void produce_momentum(const AdamScalars& s, Scaling scaling, float gradient_scale, int64_t count, const float* before,
                      const float* gradient, float* message);
void produce_update(const AdamScalars& s, float gradient_scale, float limit, int64_t count, const float* before,
                    const float* reciprocal, const float* gradient, float* message);

// What the factor of a tensor needs from a block: the squares of direction and update (with weight decay), and the largest
// ratio of the roots of frozen and fresh variance.
struct FactorSums {
  float direction, update, ratio;
};
struct Frozen {
  const float* reciprocal;
  float* fresh;
  float floor;  // of the variance
};
FactorSums refresh_from_momentum(const AdamScalars& s, Scaling scaling, float weight_decay, int64_t count, const float* mean,
                                 const float* before, Frozen frozen, const float* parameter);
FactorSums refresh_from_update(const AdamScalars& s, float weight_decay, int64_t count, const float* mean, const float* before,
                               Frozen frozen, const float* parameter);
// The second pass. rates.learning_rate is multiplied by the tensor's coefficient and factor.
void step_by_momentum(const AdamScalars& s, Scaling scaling, Rates rates, int64_t count, const float* mean,
                      const float* reciprocal, float* parameter);
void step_by_update(const AdamScalars& s, Rates rates, int64_t count, const float* mean, const float* reciprocal,
                    float* parameter);

}  // namespace onebit::kernels
