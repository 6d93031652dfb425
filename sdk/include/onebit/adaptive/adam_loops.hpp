// SPDX-License-Identifier: Apache-2.0
// Loops and programs that the optimizers of the Adam family share (program.hpp).
//
// For files that are compiled once a target: include it after onebit/targets.hpp, in every pass.
#include "onebit/adaptive/clamped_share.hpp"
#include "onebit/adaptive/frozen.hpp"
#include "onebit/adaptive/refresh_rule.hpp"
#include "onebit/adaptive/variance_sums.hpp"
#include "onebit/program.hpp"

#if defined(ONEBIT_ADAM_LOOPS_HPP) == defined(HWY_TARGET_TOGGLE)  // once a target
#ifdef ONEBIT_ADAM_LOOPS_HPP
#undef ONEBIT_ADAM_LOOPS_HPP
#else
#define ONEBIT_ADAM_LOOPS_HPP
#endif

ONEBIT_PROGRAMS

// Of a block's group, as its elements take them.
ONEBIT_LOOP Rates rates_of(const View& view, const Block& block) {
  const Group& group = group_of(view, block);
  return {static_cast<float>(group.learning_rate), static_cast<float>(group.weight_decay)};
}

// A step's scalars, for a tensor that may have missed steps, this one among them.
ONEBIT_LOOP AdamScalars scalars_of(const AdamScalars& scalars, const AdamAges& ages, const View& view, int64_t tensor,
                                   bool absent) {
  const int64_t missed = missed_steps(view, tensor) + (absent ? 1 : 0);
  return younger(scalars, ages, missed, missed);
}
ONEBIT_LOOP AdamScalars scalars_of(const AdamScalars& scalars, const AdamAges& ages, const View& view, const Block& block) {
  return scalars_of(scalars, ages, view, block.tensor, is_absent(block));
}

// The message of a tensor that is exempt from compression.
ONEBIT_LOOP void scale(float factor, int64_t count, Input in, Output out) {
  each(count, [=](int64_t i) ONEBIT_BODY { out[i] = in[i] * factor; });
}

// Adam on the mean of the gradient.
ONEBIT_LOOP void update_dense(const AdamScalars& scalars, Rates rates, int64_t count, Input gradient, Output momentum,
                              Output variance, Output parameter) {
  const AdamScalars s = scalars;
  each(
      count,
      [=](int64_t i) ONEBIT_BODY {
        const float m = adam_momentum(s, momentum[i], gradient[i]);
        const float v = adam_variance(s, variance[i], gradient[i]);
        momentum[i] = m;
        variance[i] = v;
        parameter[i] = stepped(parameter[i], adam_direction(s, m, v), rates.learning_rate, rates.weight_decay);
      },
      momentum, variance, parameter);
}

// In consume, after the variance of a block has changed.
ONEBIT_LOOP void add_variance(const VarianceSums& sums_of, const View& view, const Block& block, Input variance) {
  const Sums<2> found = sums<2>(block.count, [=](int64_t i) ONEBIT_BODY {
    return Sums<2>{{variance[i], variance[i] > 0.0f ? 0.0f : 1.0f}};
  });
  if (!is_first()) return;
  doubles(view, sums_of.sum)[block.index] = static_cast<double>(found.at[0]);
  doubles(view, sums_of.zeros)[block.index] = static_cast<double>(found.at[1]);
}
// In combine. correct: of the variance's bias.
ONEBIT_LOOP void combine_variance(const VarianceSums& sums_of, const View& view, int64_t tensor, double correct) {
  const double sum = sum_of_blocks(view, tensor, sums_of.sum), zeros = sum_of_blocks(view, tensor, sums_of.zeros);
  if (!is_first()) return;
  const auto elements = static_cast<double>(view.elements[tensor]);
  doubles(view, sums_of.mean)[tensor] = elements > 0 ? sum / elements * correct : 0;
  doubles(view, sums_of.unseen)[tensor] = zeros;
  doubles(view, sums_of.norm)[tensor] = sum * correct;
}

// In consume of a step that has preconditioned this rank's gradient. reciprocal_of(i): the r of an element.
template <class F>
ONEBIT_LOOP void add_clamped(const ClampedShare& clamped_share, const View& view, const Block& block, float limit,
                             F reciprocal_of) {
  if (!clamped_share.looks_at(view, block.index)) return;
  const Input gradient = block.gradient;
  const float scale_by = *view.gradient_scale;
  const Sums<1> found = sums<1>(block.count, [=](int64_t i) ONEBIT_BODY {
    const float entry = reciprocal_of(i) * (gradient[i] * scale_by);
    return Sums<1>{{clamped(entry, limit) != entry ? 1.0f : 0.0f}};
  });
  if (!is_first()) return;
  doubles(view, clamped_share.cut)[block.index] = static_cast<double>(found.at[0]);
  doubles(view, clamped_share.looked_at)[block.index] = static_cast<double>(block.count);
}

// In consume of the round that is for the variance: r -> r, of a variance that knows this gradient. What is at rest stays
// there.
template <class R>
ONEBIT_LOOP void refresh_reciprocal(const Refresh& refresh, const VarianceSums& sums_of, const View& view, const Block& block,
                                    float floor, float eps, Input gradient, OutputOf<R> reciprocal) {
  const float weight = refresh.weight, rest = 1.0f - weight;
  const Sums<1> found = sums<1>(block.count, [=](int64_t i) ONEBIT_BODY {
    const float r = as_float(reciprocal[i]), g = gradient[i];
    const float alive = r > 0.0f ? 1.0f : 0.0f;
    const float root = 1.0f / (r + (1.0f - alive)) - eps;
    const float v = rest * (root * root) + weight * (g * g);
    const float raised = v > floor ? v : floor;
    kept(alive / (std::sqrt(raised) + eps), reciprocal[i]);
    return Sums<1>{{alive * v}};
  });
  if (is_first()) doubles(view, sums_of.sum)[block.index] = static_cast<double>(found.at[0]);
}
// In combine of a step that refreshes: the floor's mean follows. A tensor that had none has the model's until its own is above
// it.
ONEBIT_LOOP void combine_refreshed(const VarianceSums& sums_of, const View& view, int64_t tensor) {
  const double sum = sum_of_blocks(view, tensor, sums_of.sum);
  if (!is_first() || !(sum > 0)) return;
  double& mean = doubles(view, sums_of.mean)[tensor];
  const double now = sum / static_cast<double>(view.elements[tensor]);
  if (mean > 0 || now > *doubles(view, sums_of.model_mean)) mean = now;
}

// variance -> r.
template <class R>
ONEBIT_LOOP void freeze(const AdamScalars& scalars, float floor, int64_t count, Input variance, OutputOf<R> reciprocal) {
  const AdamScalars s = scalars;
  each(count, [=](int64_t i) ONEBIT_BODY { kept(frozen_reciprocal(s, variance[i], floor), reciprocal[i]); });
}

ONEBIT_END_PROGRAMS

#endif
