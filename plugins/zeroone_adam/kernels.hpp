// The loops of 0/1 Adam over one block, compiled for every SIMD target; the same bits on each.
#pragma once

#include <cstdint>

#include "onebit/adam.hpp"
#include "onebit/frozen.hpp"

namespace onebit::kernels {

// What a sync makes of the steps since the last one.
struct Sync {
  float weight, own;  // of u, and of this step's direction, in the message
  float rate, total;  // mean and sum of the learning rates
  float keep;         // what weight decay leaves
  float share;        // 1 / steps
};

struct Loops {
  // Of tensors that are exempt: Adam on the mean of the gradient; between syncs, gradients are summed up.
  void (*update_dense)(const AdamScalars& s, Rates rates, int64_t count, const float* gradient, float* momentum,
                       float* variance, float* parameter);
  void (*add_gradient)(float gradient_scale, int64_t count, const float* gradient, float* sum);
  void (*produce_gradient)(float weight, float gradient_scale, int64_t count, const float* gradient, const float* sum,
                           float* message);

  // Before the freeze. floor: of the corrected variance, in its steps and in those in between.
  void (*update_variance)(const AdamScalars& s, float floor, Rates rates, int64_t count, const float* gradient, float* momentum,
                          float* variance, float* parameter);
  VarianceSum (*sum_variance)(const float* variance, int64_t count);
  void (*produce_early)(const AdamScalars& s, float limit, float floor, float gradient_scale, int64_t count,
                        const float* gradient, const float* momentum, const float* variance, float* message);
  void (*consume_early)(const AdamScalars& s, float floor, Rates rates, int64_t count, const float* mean, const float* variance,
                        float* momentum, float* parameter);
  // variance -> r, momentum -> x, anchor = parameter.
  void (*freeze)(const AdamScalars& s, float floor, int64_t count, const float* parameter, float* momentum, float* variance,
                 float* anchor);

  // After it. The momentum is x.
  void (*step_locally)(const AdamScalars& s, float limit, Rates rates, float gradient_scale, int64_t count,
                       const float* gradient, const float* reciprocal, float* momentum, float* u, float* parameter);
  void (*produce_sync)(const AdamScalars& s, float limit, const Sync& sync, float gradient_scale, int64_t count,
                       const float* gradient, const float* momentum, const float* reciprocal, const float* u, float* message);
  void (*consume_sync)(const Sync& sync, int64_t count, const float* mean, const float* reciprocal, float* momentum, float* u,
                       float* anchor, float* parameter);
};
// For this processor; for messages of updates or of plain entries; for a variance stage in which the momentum travels, or
// the gradient.
const Loops& loops(bool of_updates, bool momentum_travels);

}  // namespace onebit::kernels
