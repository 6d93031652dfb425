// SPDX-License-Identifier: Apache-2.0
// Loops that dense and 1-bit LAMB share (program.hpp).
//
// For files that are compiled once a target: include it after onebit/targets.hpp, in every pass.
#include "onebit/adaptive/adam_loops.hpp"
#include "onebit/adaptive/trust_ratios.hpp"

#if defined(ONEBIT_LAMB_LOOPS_HPP) == defined(HWY_TARGET_TOGGLE)  // once a target
#ifdef ONEBIT_LAMB_LOOPS_HPP
#undef ONEBIT_LAMB_LOOPS_HPP
#else
#define ONEBIT_LAMB_LOOPS_HPP
#endif

ONEBIT_PROGRAMS

// The sum of squares of f(i), which came out as `found`. Below 2^-100 it has lost digits to underflow, or all: then it is taken
// again, of terms times 2^100.
template <class F>
ONEBIT_LOOP double whole_squares(float found, int64_t count, F f) {
  if (!(found < 0x1p-100F)) return static_cast<double>(found);
  const Sums<1> raised = sums<1>(count, [=](int64_t i) ONEBIT_BODY {
    const float term = f(i) * 0x1p100F;
    return Sums<1>{{term * term}};
  });
  return static_cast<double>(raised.at[0]) * 0x1p-200;
}

// The first pass of LAMB: momentum and variance, and the squares of the block's parameters and updates.
ONEBIT_LOOP void update_moments(const TrustRatios& ratios, const AdamScalars& scalars, const View& view, const Block& block,
                                Input gradient, Output momentum, Output variance) {
  const AdamScalars s = scalars;
  const Input parameter = block.parameter;
  const float decay = rates_of(view, block).weight_decay;
  const Sums<2> squares = sums<2>(block.count, [=](int64_t i) ONEBIT_BODY {
    const float m = adam_momentum(s, momentum[i], gradient[i]);
    const float v = adam_variance(s, variance[i], gradient[i]);
    const float update = adam_direction(s, m, v) + decay * parameter[i];
    momentum[i] = m;
    variance[i] = v;
    return Sums<2>{{parameter[i] * parameter[i], update * update}};
  });
  const double own = whole_squares(squares.at[0], block.count, [=](int64_t i) ONEBIT_BODY { return parameter[i]; });
  const double moves = whole_squares(squares.at[1], block.count, [=](int64_t i) ONEBIT_BODY {
    return adam_direction(s, momentum[i], variance[i]) + decay * parameter[i];
  });
  if (!is_first()) return;
  doubles(view, ratios.parameter_squares)[block.index] = own;
  doubles(view, ratios.update_squares)[block.index] = ratios.adapt(view, block) ? moves : no_update_squares;
}

// In combine: a tensor's trust ratio. 0 where there is none, for it is exempt or a norm is 0: a coefficient of 1 is a
// convention then, and no measurement.
ONEBIT_LOOP double trust_ratio(const TrustRatios& ratios, const View& view, int64_t tensor) {
  const double parameter = sum_of_blocks(view, tensor, ratios.parameter_squares);
  const double update = sum_of_blocks(view, tensor, ratios.update_squares);
  if (!(parameter > 0) || !(update > 0)) return 0;
  return clamped(std::sqrt(parameter / update), ratios.minimum, ratios.maximum);
}

// The second: the learning rate times the tensor's coefficient.
ONEBIT_LOOP void step_by_moments(const AdamScalars& scalars, Rates rates, int64_t count, Input momentum, Input variance,
                                 Output parameter) {
  const AdamScalars s = scalars;
  each(count, [=](int64_t i) ONEBIT_BODY {
    parameter[i] = stepped(parameter[i], adam_direction(s, momentum[i], variance[i]), rates.learning_rate, rates.weight_decay);
  });
}
ONEBIT_LOOP Rates scaled_rates(const View& view, const Block& block, double coefficient) {
  const Group& group = group_of(view, block);
  return {static_cast<float>(group.learning_rate * coefficient), static_cast<float>(group.weight_decay)};
}

ONEBIT_END_PROGRAMS

#endif
