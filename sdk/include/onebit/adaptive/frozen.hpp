// SPDX-License-Identifier: Apache-2.0
// What the 1-bit optimizers of the Adam family share after the freeze, one element: the frozen reciprocal, and messages that it
// has preconditioned. For loops on the CPU and for CUDA kernels (arithmetic.hpp).
#pragma once

#include "onebit/adaptive/adam.hpp"

namespace onebit {

// Of a block's group.
struct Rates {
  float learning_rate;
  float weight_decay;  // decoupled
};

// The frozen reciprocal r of an element, kept as fp32 or bf16. floor: of the corrected variance, which serves an element that
// has never seen a gradient, too, so that it learns from those that come later. Without a floor such an element has r = 0, and
// stays where it is.
ONEBIT_HOST_DEVICE float frozen_reciprocal(const AdamScalars& s, float variance, float floor) {
  const float corrected = variance * s.correct2;
  const float raised = corrected > floor ? corrected : floor;
  const float reciprocal = 1.0f / (std::sqrt(raised) + s.eps);
  return raised > 0.0f ? reciprocal : 0.0f;
}

ONEBIT_HOST_DEVICE float clamped(float x, float limit) {
  const float below = x > limit ? limit : x;
  return below < -limit ? -limit : below;
}

// The gradient as the preconditioned message takes it.
ONEBIT_HOST_DEVICE float preconditioned(float reciprocal, float gradient, float limit) {
  return clamped(reciprocal * gradient, limit);
}

// p - lr (direction + decay p).
ONEBIT_HOST_DEVICE float stepped(float parameter, float direction, float learning_rate, float weight_decay) {
  return parameter - learning_rate * (direction + weight_decay * parameter);
}
// The same where the element is alive (r > 0), else untouched.
ONEBIT_HOST_DEVICE float stepped_if_alive(float parameter, float direction, float learning_rate, float weight_decay,
                                          float reciprocal) {
  const float moved = stepped(parameter, direction, learning_rate, weight_decay);
  return reciprocal > 0.0f ? moved : parameter;
}

}  // namespace onebit
