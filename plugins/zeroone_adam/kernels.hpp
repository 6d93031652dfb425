// The loops of 0/1 Adam over one block, compiled for every SIMD target and chosen at run time; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/adam.hpp"
#include "onebit/frozen.hpp"

namespace onebit::kernels {

// What a compressed message holds: entries that the frozen (or, before the freeze, the present) reciprocal r has
// preconditioned, or plain ones; a gradient, or the momentum.
struct Form {
  bool preconditioned;
  bool momentum;
  float limit;  // of preconditioned gradients
};

// Adam on the mean of the gradient, for tensors that are exempt from compression.
void update_dense(const AdamScalars& s, Rates rates, int64_t count, const float* gradient, float* momentum, float* variance,
                  float* parameter);
// A step before the freeze that updates the variance. floor: of the variance at its last update.
void update_variance(const AdamScalars& s, float floor, Rates rates, int64_t count, const float* gradient, float* momentum,
                     float* variance, float* parameter);
VarianceSum sum_variance(const float* variance, int64_t count);

// The other steps before the freeze; r comes from the variance as it is, with its floor.
void produce_early(const AdamScalars& s, Form form, float floor, float gradient_scale, int64_t count, const float* gradient,
                   const float* momentum, const float* variance, float* message);
void consume_early(const AdamScalars& s, Form form, float floor, Rates rates, int64_t count, const float* mean,
                   const float* variance, float* momentum, float* parameter);

// At the freeze: variance -> r; the momentum, its bias corrected for good, -> what messages hold; parameter -> anchor.
void freeze(const AdamScalars& s, Form form, float floor, int64_t count, const float* parameter, float* momentum,
            float* variance, float* anchor);

// After it, a step without a round. u: the sum since the last sync of learning rate times direction.
void step_locally(const AdamScalars& s, Form form, Rates rates, float gradient_scale, int64_t count, const float* gradient,
                  const float* reciprocal, float* momentum, float* u, float* parameter);
// A step that brings the ranks together. weight and own make the message of u and of this step's own direction.
void produce_sync(const AdamScalars& s, Form form, float weight, float own, float gradient_scale, int64_t count,
                  const float* gradient, const float* momentum, const float* reciprocal, const float* u, float* message);
// mean: the sum of directions, at learning rate `rate`. share: of it that is the momentum. keep: what weight decay leaves.
void consume_sync(Form form, float rate, float share, float keep, int64_t count, const float* mean, const float* reciprocal,
                  float* momentum, float* u, float* anchor, float* parameter);

// Of tensors that are exempt from compression: between two syncs their gradients are added up.
void add_gradient(float gradient_scale, int64_t count, const float* gradient, float* sum);
void produce_gradient(float weight, float gradient_scale, int64_t count, const float* gradient, const float* sum,
                      float* message);

}  // namespace onebit::kernels
