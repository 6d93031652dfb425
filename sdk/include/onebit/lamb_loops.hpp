// Loops over one block that dense and 1-bit LAMB share, in groups of 32 elements, whose sums are taken by lane (lanes.hpp).
// Inside a group they are plain: the compiler vectorises them for each target that Highway asks for.
//
// For files that Highway compiles once a target (foreach_target.h): include it after hwy/highway.h, in every pass.
#include <algorithm>

#include "onebit/adam_loops.hpp"
#include "onebit/trust_ratios.hpp"

#if defined(ONEBIT_LAMB_LOOPS_HPP) == defined(HWY_TARGET_TOGGLE)  // once a target
#ifdef ONEBIT_LAMB_LOOPS_HPP
#undef ONEBIT_LAMB_LOOPS_HPP
#else
#define ONEBIT_LAMB_LOOPS_HPP
#endif

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {

// One number an element of a group, 0 beyond its end.
struct Group32 {
  HWY_ALIGN float values[kLanes] = {};
};

// Momentum and variance of a group, and the squares of its parameters and updates.
HWY_INLINE void update_moments_of_group(const AdamScalars& s, float weight_decay, int64_t count, Input gradient,
                                        Output momentum, Output variance, Input parameter, Output parameter_squares,
                                        Output update_squares) {
  for (int64_t i = 0; i < count; ++i) {
    const float m = adam_momentum(s, momentum[i], gradient[i]);
    const float v = adam_variance(s, variance[i], gradient[i]);
    const float update = adam_direction(s, m, v) + weight_decay * parameter[i];
    momentum[i] = m;
    variance[i] = v;
    parameter_squares[i] = parameter[i] * parameter[i];
    update_squares[i] = update * update;
  }
}

// The first pass of LAMB.
inline LambSquares update_moments(const AdamScalars& scalars, float weight_decay, int64_t count, Input gradient,
                                  Output momentum, Output variance, Input parameter) {
  const AdamScalars s = scalars;
  LaneSum parameters, updates;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Group32 p, u;
    update_moments_of_group(s, weight_decay, kLanes, gradient + i, momentum + i, variance + i, parameter + i, p.values,
                            u.values);
    add_group(parameters, p.values);
    add_group(updates, u.values);
  }
  Group32 p, u;
  update_moments_of_group(s, weight_decay, count - i, gradient + i, momentum + i, variance + i, parameter + i, p.values,
                          u.values);
  add_group(parameters, p.values);
  add_group(updates, u.values);
  return {parameters.total(), updates.total()};
}

// The second: rates.learning_rate is multiplied by the tensor's coefficient.
inline void step_by_moments(const AdamScalars& scalars, Rates rates, int64_t count, Input momentum, Input variance,
                            Output parameter) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i)
    parameter[i] = stepped(parameter[i], adam_direction(s, momentum[i], variance[i]), rates.learning_rate, rates.weight_decay);
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#endif
