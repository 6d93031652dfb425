// SPDX-License-Identifier: Apache-2.0
// The arithmetic that the optimizers of the Adam family share, for loops on the CPU and for CUDA kernels (arithmetic.hpp).
#pragma once

#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "onebit/arithmetic.hpp"
#include "onebit/error.hpp"
#include "onebit/number_text.hpp"

namespace onebit {

// The option betas, [beta1, beta2].
struct AdamBetas {
  static AdamBetas checked(const std::vector<double>& values) {
    if (values.size() != 2)
      throw Error(Code::invalid_argument,
                  "betas has " + std::to_string(values.size()) + " numbers; it must have two, [beta1, beta2]");
    for (size_t i = 0; i < values.size(); ++i)
      if (!(values[i] >= 0 && values[i] < 1))
        throw Error(Code::invalid_argument, "betas[" + std::to_string(i) + "] is " + number_text(values[i]) +
                                                "; both must be at least 0 and less than 1");
    return {values[0], values[1]};
  }
  double first, second;
};

// What Adam's formulas need besides the element, once a step. Formed in double and rounded once: 1 - 0.999f would be 5e-5 off.
struct AdamScalars {
  AdamScalars() = default;
  // update: t of the bias correction, from 1; 0: no correction.
  AdamScalars(AdamBetas betas, double epsilon, int64_t update)
      : AdamScalars(betas, epsilon, update, static_cast<double>(update)) {}
  // For a variance that is not updated at every step: its own t.
  AdamScalars(AdamBetas betas, double epsilon, int64_t momentum_update, double variance_update)
      : beta1(static_cast<float>(betas.first)),
        beta2(static_cast<float>(betas.second)),
        rest1(static_cast<float>(1 - betas.first)),
        rest2(static_cast<float>(1 - betas.second)),
        eps(static_cast<float>(epsilon)) {
    const double least = static_cast<double>(FLT_MIN) / (1 - betas.second);  // of the squares that a variance is made of
    if (epsilon * epsilon < 1e4 * least) smallest = 0;
    if (momentum_update == 0) return;
    const double rest = 1 - std::pow(betas.second, variance_update);
    correct1 = static_cast<float>(1 / (1 - std::pow(betas.first, static_cast<double>(momentum_update))));
    correct2 = static_cast<float>(1 / rest);
    root_correct2 = static_cast<float>(1 / std::sqrt(rest));
  }

  float beta1 = 0, beta2 = 0;             // decay of momentum and variance
  float rest1 = 1, rest2 = 1;             // 1 - beta
  float eps = 0;                          // added to the root of the variance
  float smallest = FLT_MIN;               // variance that is kept; 0 where the root of less is seen beside eps
  float correct1 = 1;                     // 1 / (1 - beta1^t)
  float correct2 = 1, root_correct2 = 1;  // 1 / (1 - beta2^t), and its root
};

// What the bias corrections count in a step, for tensors that missed steps because no rank had a gradient of them.
struct AdamAges {
  double beta1 = 0, beta2 = 0;
  int64_t momentum = 0, variance = 0;  // t of each; 0: no correction
};

// By squaring: products alone, so that the CPU and CUDA get the same bits.
ONEBIT_HOST_DEVICE double power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base)
    if (exponent % 2 != 0) result *= base;
  return result;
}

// A step's scalars for a tensor whose momentum and variance are so many updates behind.
ONEBIT_HOST_DEVICE AdamScalars younger(const AdamScalars& scalars, const AdamAges& ages, int64_t momentum, int64_t variance) {
  AdamScalars result = scalars;
  if (ages.momentum == 0 || (momentum == 0 && variance == 0)) return result;
  const int64_t first = ages.momentum - momentum, second = ages.variance - variance;
  const double rest = 1 - power(ages.beta2, second > 1 ? second : 1);
  result.correct1 = static_cast<float>(1 / (1 - power(ages.beta1, first > 1 ? first : 1)));
  result.correct2 = static_cast<float>(1 / rest);
  result.root_correct2 = static_cast<float>(1 / std::sqrt(rest));
  return result;
}

// Where gradients have ceased, momentum decays to denormals in some 800 steps and would stay there, each step twenty times
// slower; so does the variance, later.
ONEBIT_HOST_DEVICE float without_denormals(float x) { return std::fabs(x) < FLT_MIN ? 0.0F : x; }

ONEBIT_HOST_DEVICE float adam_momentum(const AdamScalars& s, float momentum, float gradient) {
  return without_denormals(s.beta1 * momentum + s.rest1 * gradient);
}
ONEBIT_HOST_DEVICE float adam_variance(const AdamScalars& s, float variance, float gradient) {
  const float updated = s.beta2 * variance + s.rest2 * (gradient * gradient);
  return updated < s.smallest ? 0.0F : updated;
}
// Bias-corrected momentum / (root of the bias-corrected variance + eps).
ONEBIT_HOST_DEVICE float adam_direction(const AdamScalars& s, float momentum, float variance) {
  return (momentum * s.correct1) / (std::sqrt(variance) * s.root_correct2 + s.eps);
}

}  // namespace onebit
