// SPDX-License-Identifier: Apache-2.0
// How the learning rate goes over a run, as a share of the configured one. Plain arithmetic alone, no library's cosine or
// power, for those differ by machine in their last bits, and every rank must have the same learning rate.
#pragma once

#include <algorithm>
#include <cstdint>

namespace onebit::host {

struct Schedule {
  enum class Kind { constant, linear, cosine, exponential };
  Kind kind = Kind::constant;
  int64_t warmup_steps = 0;
  int64_t decay_steps = 1;  // exponential
  double decay_factor = 1;  // likewise
  double final_share = 0;   // linear, cosine
};

// cos^2(x) for x from 0 to pi / 2: the sum of cos(x)'s powers up to the 26th is as exact as a double.
inline double squared_cosine(double x) {
  double term = 1, sum = 1;
  for (int power = 2; power <= 26; power += 2) {
    term *= -x * x / ((power - 1) * power);
    sum += term;
  }
  return sum * sum;
}

inline double to_the_power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base)
    if (exponent % 2 == 1) result *= base;
  return result;
}

// taken: steps that lie behind, so 0 for the first of `steps`.
//   warm-up      (taken + 1) / warmup_steps: the first step has 1 / warmup_steps, the last of the warm-up has all
// and then, with p = (taken - warmup_steps) / (steps - warmup_steps), from 0 up to, but not including, 1:
//   constant     1
//   linear       final_share + (1 - final_share) * (1 - p)
//   cosine       final_share + (1 - final_share) * (1 + cos(pi p)) / 2
//   exponential  decay_factor ^ n after n times decay_steps since the warm-up
// so that the first step after the warm-up, too, has all, and final_share is what a step after the last would have.
inline double learning_rate_share(const Schedule& schedule, int64_t taken, int64_t steps) {
  constexpr double kHalfPi = 1.5707963267948966;
  if (taken < schedule.warmup_steps) return static_cast<double>(taken + 1) / static_cast<double>(schedule.warmup_steps);
  const int64_t since = taken - schedule.warmup_steps;
  const double p = static_cast<double>(since) / static_cast<double>(std::max<int64_t>(1, steps - schedule.warmup_steps));
  const auto falling = [&](double left) { return schedule.final_share + (1 - schedule.final_share) * left; };
  switch (schedule.kind) {
    case Schedule::Kind::linear:
      return falling(1 - p);
    case Schedule::Kind::cosine:
      return falling(squared_cosine(kHalfPi * p));
    case Schedule::Kind::exponential:
      return to_the_power(schedule.decay_factor, since / schedule.decay_steps);
    default:
      return 1;
  }
}

}  // namespace onebit::host
