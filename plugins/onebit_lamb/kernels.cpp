// SPDX-License-Identifier: Apache-2.0
// The formulas are in plugin.cpp and frozen_ratios.hpp; the dense ones are those of LAMB.
#include "kernels.hpp"

#include <cfloat>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "onebit/targets.hpp"
//
#include "onebit/adaptive/lamb_loops.hpp"

ONEBIT_PROGRAMS

using kernels::Pass;
using kernels::Stage;

// Whether this step updates the tensor as LAMB does.
ONEBIT_LOOP bool as_lamb(const Pass& pass, bool exempt) { return pass.stage != Stage::compressed || exempt; }

// A mean is one of messages: of momentum * factor, or of updates, which need no scaling.
struct Scaling {
  float factor, inverse;
};
ONEBIT_LOOP Scaling scaling_of(const Pass& pass, const View& view, const Block& block) {
  const double factor = doubles(view, pass.scaling)[block.tensor];
  return {static_cast<float>(factor), static_cast<float>(1 / factor)};
}

// The mean of the message before this one.
ONEBIT_LOOP const float* mean_before(const Pass& pass, const View& view, const Block& block) {
  return pass.first ? floats(view, block, pass.momentum) : view.previous + block.packed;
}

// R: what the reciprocal is kept as.
template <bool of_updates, class R>
struct Produce {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    const Input gradient = block.gradient;
    const Output message = view.message + block.packed;
    const float scale_by = *view.gradient_scale;
    if (is_dense(block)) return scale(scale_by, block.count, gradient, message);
    const Input before = mean_before(pass, view, block);
    const InputOf<R> reciprocal = elements_of<R>(view, block, pass.reciprocal);
    if (is_absent(block)) return each(block.count, [=](int64_t i) ONEBIT_BODY { message[i] = before[i]; });
    const AdamScalars s = pass.scalars;
    const Scaling scaling = scaling_of(pass, view, block);
    const float limit = pass.limit;
    each(block.count, [=](int64_t i) ONEBIT_BODY {
      const float g = gradient[i] * scale_by;
      message[i] = of_updates ? adam_momentum(s, before[i], preconditioned(as_float(reciprocal[i]), g, limit))
                              : adam_momentum(s, before[i] * scaling.inverse, g) * scaling.factor;
    });
  }
};

template <bool of_updates, class R>
struct Consume {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    if (pass.refresh.is_round(view)) return refresh(pass, view, block, view.mean + block.packed);
    if (!as_lamb(pass, is_dense(block))) {
      const InputOf<R> reciprocal = elements_of<R>(view, block, pass.reciprocal);
      if (of_updates && !pass.refresh.is_due())
        add_clamped(pass.clamped_share, view, block, pass.limit,
                    [=](int64_t i) ONEBIT_BODY { return as_float(reciprocal[i]); });
      return follow(pass, view, block, view.mean + block.packed, mean_before(pass, view, block), reciprocal,
                    floats(view, block, pass.fresh), block.parameter);
    }
    const Output momentum = floats(view, block, pass.momentum), variance = floats(view, block, pass.variance);
    if (!is_absent(block))
      update_moments(pass.ratios, scalars_of(pass.scalars, pass.ages, view, block), view, block, view.mean + block.packed,
                     momentum, variance);
    if (pass.sums_variance) add_variance(pass.sums, view, block, variance);
    if (pass.stage != Stage::freeze) return;
    const Sums<1> squares = sums<1>(block.count, [=](int64_t i) ONEBIT_BODY { return Sums<1>{{momentum[i] * momentum[i]}}; });
    const double whole = whole_squares(squares.at[0], block.count, [=](int64_t i) ONEBIT_BODY { return momentum[i]; });
    if (is_first()) doubles(view, pass.momentum_squares)[block.index] = whole;
  }

  // The variance that ratios follow takes the gradient itself, which it has to guess in other steps.
  static ONEBIT_LOOP void refresh(const Pass& pass, const View& view, const Block& block, Input gradient) {
    if (is_dense(block) || is_absent(block)) return;
    const Output fresh = floats(view, block, pass.fresh);
    const AdamScalars s = pass.scalars;
    refresh_reciprocal<R>(pass.refresh, pass.sums, view, block, pass.sums.floor(view, block.tensor, pass.variance_floor), s.eps,
                          gradient, elements_of<R>(view, block, pass.reciprocal));
    each(block.count, [=](int64_t i) ONEBIT_BODY { fresh[i] = adam_variance(s, fresh[i], gradient[i]); });
  }

  // The mean gradient is what two means in a row make of it: (m - b1 m') / (1-b1), and r is divided out where m is an update.
  // Dead elements are multiplied away: with more than one choice in it the loop would not be vectorised. The ratio of the roots
  // of frozen and fresh variance is taken as its inverse, which costs no division and is never 0.
  static ONEBIT_LOOP void follow(const Pass& pass, const View& view, const Block& block, Input mean, Input before,
                                 InputOf<R> reciprocal, Output fresh, Input parameter) {
    AdamScalars s = scalars_of(pass.scalars, pass.ages, view, block);
    if (pass.refresh.is_due()) s.beta2 = 1.0f, s.rest2 = 0.0f;  // it has this gradient already
    const float inverse = of_updates ? 1.0f : scaling_of(pass, view, block).inverse, inverse_rest = 1.0f / s.rest1;
    const float floor = pass.sums.floor(view, block.tensor, pass.variance_floor);
    const float weight_decay = rates_of(view, block).weight_decay;
    const Sums<4> found = sums_and_least<3>(block.count, [=](int64_t i) ONEBIT_BODY {
      const float r = as_float(reciprocal[i]);
      const float alive = r > 0.0f ? 1.0f : 0.0f, dead = 1.0f - alive;
      const float m = mean[i] * inverse;
      const float entry = (m - s.beta1 * (before[i] * inverse)) * inverse_rest;
      const float gradient = of_updates ? alive * entry / (r + dead) : entry;
      const float v = adam_variance(s, fresh[i], gradient);
      fresh[i] = v;
      const float direction = alive * ((of_updates ? m : r * m) * s.correct1);
      const float decayed = direction + alive * (weight_decay * parameter[i]);
      const float raised = v > floor ? v : floor;
      return Sums<4>{{direction * direction, decayed * decayed, parameter[i] * parameter[i],
                      r * (std::sqrt(raised) + s.eps) + dead * FLT_MAX}};
    });
    if (!is_first()) return;
    const kernels::FrozenRatios& ratios = pass.frozen_ratios;
    doubles(view, ratios.direction_squares)[block.index] = static_cast<double>(found.at[0]);
    doubles(view, ratios.update_squares)[block.index] =
        pass.ratios.adapt(view, block) ? static_cast<double>(found.at[1]) : no_update_squares;
    if (ratios.grows) doubles(view, ratios.parameter_squares)[block.index] = static_cast<double>(found.at[2]);
    doubles(view, ratios.inverse_ratio)[block.index] = static_cast<double>(found.at[3]);
  }
};

struct CombineTensor {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, int64_t tensor) {
    const bool absent = is_absent(view, tensor);
    if (absent && pass.stage != Stage::freeze) return;
    if (pass.stage == Stage::compressed && is_first()) pass.clamped_share.combine_tensor(view, tensor);
    if (pass.refresh.is_due() && !is_dense(view, tensor)) combine_refreshed(pass.sums, view, tensor);
    if (!absent) as_lamb(pass, is_dense(view, tensor)) ? measure(pass, view, tensor) : follow(pass, view, tensor);
    const AdamScalars scalars = scalars_of(pass.scalars, pass.ages, view, tensor, absent);
    if (pass.sums_variance) combine_variance(pass.sums, view, tensor, static_cast<double>(scalars.correct2));
    if (pass.stage != Stage::freeze) return;
    const double squares = sum_of_blocks(view, tensor, pass.momentum_squares);
    if (!is_first()) return;
    doubles(view, pass.momentum_size)[tensor] =
        squares > 0 ? std::sqrt(squares / static_cast<double>(view.elements[tensor])) : 0;
    pass.frozen_ratios.freeze(view, tensor);
  }
  static ONEBIT_LOOP void measure(const Pass& pass, const View& view, int64_t tensor) {
    const double ratio = trust_ratio(pass.ratios, view, tensor);
    if (!is_first()) return;
    if (ratio > 0 && pass.stage != Stage::compressed) pass.frozen_ratios.measure(view, tensor, ratio);
    doubles(view, pass.coefficient)[tensor] = ratio > 0 ? ratio : 1;
  }
  static ONEBIT_LOOP void follow(const Pass& pass, const View& view, int64_t tensor) {
    const kernels::FrozenRatios& ratios = pass.frozen_ratios;
    const double direction = sum_of_blocks(view, tensor, ratios.direction_squares);
    const double update = sum_of_blocks(view, tensor, ratios.update_squares);
    const double parameter = ratios.grows ? sum_of_blocks(view, tensor, ratios.parameter_squares) : 0;
    const double inverse = least_of_blocks(view, tensor, ratios.inverse_ratio);
    if (is_first())
      doubles(view, pass.coefficient)[tensor] = ratios.follow(view, tensor, direction, update, parameter, inverse);
  }
};

struct CombineModel {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view) {
    if (pass.sums_variance) pass.freeze.observe(view, pass.sums, ratio_level(pass, view));
    if (pass.stage == Stage::compressed) pass.clamped_share.combine_model(view);
    pass.refresh.note(view);
    if (pass.stage == Stage::freeze) {
      scale_messages(pass, view);
      *doubles(view, pass.frozen) = static_cast<double>(view.number);
    }
    *doubles(view, pass.stage == Stage::compressed ? pass.compressed_updates : pass.dense_updates) += 1;
  }
  // The mean logarithm of the trust ratios that will be frozen.
  static ONEBIT_LOOP double ratio_level(const Pass& pass, const View& view) {
    double sum = 0, measured = 0;
    for (int64_t tensor = 0; tensor < view.tensor_count; ++tensor) {
      const double average = doubles(view, pass.frozen_ratios.average)[tensor];
      if (is_dense(view, tensor) || !(average > 0)) continue;
      sum += kernels::FrozenRatios::logarithm(average);
      measured += 1;
    }
    return measured > 0 ? sum / measured : 0;
  }
  // Scalings bring the momenta of all tensors to one magnitude, for one scale may serve them all.
  static ONEBIT_LOOP void scale_messages(const Pass& pass, const View& view) {
    double sum = 0, moving = 0;
    for (int64_t tensor = 0; tensor < view.tensor_count; ++tensor) {
      const double size = doubles(view, pass.momentum_size)[tensor];
      if (size > 0 && !is_dense(view, tensor)) sum += size, moving += 1;
    }
    for (int64_t tensor = 0; tensor < view.tensor_count; ++tensor) {
      const double size = doubles(view, pass.momentum_size)[tensor];
      doubles(view, pass.scaling)[tensor] = size > 0 && moving > 0 ? sum / moving / size : 1;
    }
  }
};
inline void combine(const Pass& pass, const View& view, const Totals& totals) {
  over_tensors<CombineTensor>(pass, view, totals);
  over_model<CombineModel>(pass, view, totals);
}

// The second pass.
template <bool of_updates, class R>
struct Apply {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    const Rates rates = scaled_rates(view, block, doubles(view, pass.coefficient)[block.tensor]);
    const Output parameter = block.parameter;
    if (!as_lamb(pass, is_dense(block))) return step(pass, view, block, rates, view.mean + block.packed, parameter);
    const Output momentum = floats(view, block, pass.momentum), variance = floats(view, block, pass.variance);
    if (!is_absent(block))
      step_by_moments(scalars_of(pass.scalars, pass.ages, view, block), rates, block.count, momentum, variance, parameter);
    if (pass.stage == Stage::freeze && !is_dense(block))
      freeze_all(pass, view, block, momentum, variance, floats(view, block, pass.fresh));
  }

  static ONEBIT_LOOP void step(const Pass& pass, const View& view, const Block& block, Rates rates, Input mean,
                               Output parameter) {
    const InputOf<R> reciprocal = elements_of<R>(view, block, pass.reciprocal);
    const float correct = scalars_of(pass.scalars, pass.ages, view, block).correct1,
                inverse = scaling_of(pass, view, block).inverse;
    each(block.count, [=](int64_t i) ONEBIT_BODY {
      const float r = as_float(reciprocal[i]);
      const float direction = of_updates ? mean[i] * correct : r * (mean[i] * inverse * correct);
      parameter[i] = stepped_if_alive(parameter[i], direction, rates.learning_rate, rates.weight_decay, r);
    });
  }

  // variance -> r, and the momentum becomes what messages are of.
  static ONEBIT_LOOP void freeze_all(const Pass& pass, const View& view, const Block& block, Output momentum, Input variance,
                                     Output fresh) {
    const OutputOf<R> reciprocal = elements_of<R>(view, block, pass.reciprocal);
    const AdamScalars s = scalars_of(pass.scalars, pass.ages, view, block);
    const float correct = s.correct2, factor = scaling_of(pass, view, block).factor;
    each(block.count, [=](int64_t i) ONEBIT_BODY { fresh[i] = variance[i] * correct; });
    freeze<R>(s, pass.sums.floor(view, block.tensor, pass.variance_floor), block.count, variance, reciprocal);
    each(block.count, [=](int64_t i) ONEBIT_BODY { momentum[i] *= of_updates ? as_float(reciprocal[i]) : factor; });
  }
};

template <bool of_updates, class R>
const Passes<Pass>* passes_of() {
  static constexpr Passes<Pass> passes = {over_blocks<Produce<of_updates, R>, Pass>, over_blocks<Consume<of_updates, R>, Pass>,
                                          combine, over_blocks<Apply<of_updates, R>, Pass>};
  return &passes;
}
inline const Passes<Pass>* table(bool of_updates, ElementType reciprocal) {
  if (reciprocal == ElementType::bf16) return of_updates ? passes_of<true, Bf16>() : passes_of<false, Bf16>();
  return of_updates ? passes_of<true, float>() : passes_of<false, float>();
}

ONEBIT_END_PROGRAMS

#if ONEBIT_ONCE
namespace onebit {
ONEBIT_TARGETS_OF(table)
const Passes<kernels::Pass>& kernels::passes(bool of_updates, ElementType reciprocal) {
  return *ONEBIT_BEST(table)(of_updates, reciprocal);
}
}  // namespace onebit
#endif
