// The loops of 1-bit Adam over one block, compiled for every SIMD target and chosen at run time; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/adam.hpp"
#include "onebit/frozen.hpp"

namespace onebit::kernels {

// Before the freeze: Adam on the mean of the gradient.
void update_dense(const AdamScalars& s, Rates rates, int64_t count, const float* gradient, float* momentum, float* variance,
                  float* parameter);
// At the freeze: what the mean of a tensor needs from a block, and variance -> r.
VarianceSum sum_variance(const float* variance, int64_t count);
void freeze(const AdamScalars& s, float floor, int64_t count, float* variance);

// The message of a tensor that is exempt from compression.
void scale(float gradient_scale, int64_t count, const float* gradient, float* message);

// After it. message = "momentum": before is the mean momentum.
void produce_momentum(const AdamScalars& s, float gradient_scale, int64_t count, const float* before, const float* gradient,
                      float* message);
// message = "update": before is the mean update; at the first compressed step momentum * r.
void produce_update(const AdamScalars& s, float gradient_scale, float limit, int64_t count, const float* before,
                    const float* reciprocal, const float* gradient, float* message);
void produce_first_update(const AdamScalars& s, float gradient_scale, float limit, int64_t count, const float* momentum,
                          const float* reciprocal, const float* gradient, float* message);
void consume_momentum(const AdamScalars& s, Rates rates, int64_t count, const float* mean, const float* reciprocal,
                      float* parameter);
void consume_update(const AdamScalars& s, Rates rates, int64_t count, const float* mean, const float* reciprocal,
                    float* parameter);
// Where every element of the tensor is alive: r, 4 bytes an element, is not read.
void consume_update_alive(const AdamScalars& s, Rates rates, int64_t count, const float* mean, float* parameter);

}  // namespace onebit::kernels
