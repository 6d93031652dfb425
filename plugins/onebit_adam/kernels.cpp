// SPDX-License-Identifier: Apache-2.0
// The formulas are in plugin.cpp, element by element in onebit/adaptive/adam.hpp and onebit/adaptive/frozen.hpp.
#include "kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "onebit/targets.hpp"
//
#include "onebit/adaptive/adam_loops.hpp"

ONEBIT_PROGRAMS

using kernels::Pass;
using kernels::Stage;

// R: what the reciprocal is kept as.
template <bool of_updates, class R>
struct Produce {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    const Input gradient = block.gradient;
    const InputOf<R> reciprocal = elements_of<R>(view, block, pass.reciprocal);
    const Output message = view.message + block.packed;
    const float scale_by = *view.gradient_scale;
    if (is_dense(block)) return scale(scale_by, block.count, gradient, message);
    const AdamScalars s = pass.scalars;
    const float limit = pass.limit;
    const bool converts = of_updates && pass.first;  // the momentum, to what messages are of
    const Input before = pass.first ? floats(view, block, pass.momentum) : view.previous + block.packed;
    if (is_absent(block)) return begin(converts, block.count, before, reciprocal, message);
    if (converts) return produce_first(s, scale_by, limit, block.count, before, reciprocal, gradient, message);
    const auto produce = [=](int64_t i) ONEBIT_BODY {
      const float g = gradient[i] * scale_by;
      message[i] = adam_momentum(s, before[i], of_updates ? preconditioned(as_float(reciprocal[i]), g, limit) : g);
    };
    if (of_updates) return each(block.count, produce, gradient, reciprocal);
    each(block.count, produce, gradient);
  }
  // What the mean to be kept is without this step.
  static ONEBIT_LOOP void begin(bool converts, int64_t count, Input momentum, InputOf<R> reciprocal, Output message) {
    each(count, [=](int64_t i) ONEBIT_BODY { message[i] = converts ? momentum[i] * as_float(reciprocal[i]) : momentum[i]; });
  }
  static ONEBIT_LOOP void produce_first(const AdamScalars& s, float scale_by, float limit, int64_t count, Input momentum,
                                        InputOf<R> reciprocal, Input gradient, Output message) {
    each(count, [=](int64_t i) ONEBIT_BODY {
      const float r = as_float(reciprocal[i]);
      message[i] = adam_momentum(s, momentum[i] * r, preconditioned(r, gradient[i] * scale_by, limit));
    });
  }
};

template <bool of_updates, class R>
struct Consume {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    const Input mean = view.mean + block.packed;
    const OutputOf<R> reciprocal = elements_of<R>(view, block, pass.reciprocal);
    if (pass.refresh.is_round(view)) return refresh(pass, view, block, mean, reciprocal);
    if (pass.stage == Stage::compressed && !is_dense(block)) {
      if (of_updates && !pass.refresh.is_due())
        add_clamped(pass.clamped_share, view, block, pass.limit,
                    [=](int64_t i) ONEBIT_BODY { return as_float(reciprocal[i]); });
      return step(pass, view, block, mean, reciprocal, block.parameter);
    }
    const Output variance = floats(view, block, pass.variance);
    if (!is_absent(block))
      update_dense(scalars_of(pass.scalars, pass.ages, view, block), rates_of(view, block), block.count, mean,
                   floats(view, block, pass.momentum), variance, block.parameter);
    if (pass.sums_variance) add_variance(pass.sums, view, block, variance);
  }
  static ONEBIT_LOOP void refresh(const Pass& pass, const View& view, const Block& block, Input gradient,
                                  OutputOf<R> reciprocal) {
    if (is_dense(block) || is_absent(block)) return;
    refresh_reciprocal<R>(pass.refresh, pass.sums, view, block, pass.sums.floor(view, block.tensor, pass.variance_floor),
                          pass.scalars.eps, gradient, reciprocal);
  }
  static ONEBIT_LOOP void step(const Pass& pass, const View& view, const Block& block, Input mean, InputOf<R> reciprocal,
                               Output parameter) {
    const float correct = scalars_of(pass.scalars, pass.ages, view, block).correct1;
    const float limit = pass.step_limit;
    const Rates rates = rates_of(view, block);
    if (of_updates &&
        !pass.sums.has_resting(view, block.tensor, pass.variance_floor)) {  // then r is not needed, 2 or 4 bytes an element
      const auto move = [=](int64_t i) ONEBIT_BODY {
        parameter[i] = stepped(parameter[i], clamped(mean[i] * correct, limit), rates.learning_rate, rates.weight_decay);
      };
      return each(block.count, move, parameter);
    }
    const auto move = [=](int64_t i) ONEBIT_BODY {
      const float corrected = mean[i] * correct, r = as_float(reciprocal[i]);
      parameter[i] = stepped_if_alive(parameter[i], of_updates ? clamped(corrected, limit) : r * corrected, rates.learning_rate,
                                      rates.weight_decay, r);
    };
    each(block.count, move, reciprocal, parameter);
  }
};

struct CombineTensor {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, int64_t tensor) {
    const bool absent = is_absent(view, tensor);
    if (absent && pass.stage != Stage::freeze) return;
    if (pass.stage == Stage::compressed) {
      if (is_first()) pass.clamped_share.combine_tensor(view, tensor);
      if (pass.refresh.is_due() && !is_dense(view, tensor)) combine_refreshed(pass.sums, view, tensor);
      return;
    }
    const AdamScalars scalars = scalars_of(pass.scalars, pass.ages, view, tensor, absent);
    combine_variance(pass.sums, view, tensor, static_cast<double>(scalars.correct2));
  }
};
struct CombineModel {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view) {
    if (pass.sums_variance) pass.freeze.observe(view, pass.sums);
    if (pass.stage == Stage::compressed) pass.clamped_share.combine_model(view);
    pass.refresh.note(view);
    if (pass.stage == Stage::freeze) *doubles(view, pass.frozen) = static_cast<double>(view.number);
    *doubles(view, pass.stage == Stage::compressed ? pass.compressed_updates : pass.dense_updates) += 1;
  }
};
inline void combine(const Pass& pass, const View& view, const Totals& totals) {
  if (pass.sums_variance || pass.refresh.is_due() || (pass.stage == Stage::compressed && pass.clamped_share.counts))
    over_tensors<CombineTensor>(pass, view, totals);
  over_model<CombineModel>(pass, view, totals);
}

template <class R>
struct Freeze {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    if (is_dense(block)) return;
    freeze<R>(scalars_of(pass.scalars, pass.ages, view, block), pass.sums.floor(view, block.tensor, pass.variance_floor),
              block.count, floats(view, block, pass.variance), elements_of<R>(view, block, pass.reciprocal));
  }
};

template <bool of_updates, class R>
const Passes<Pass>* passes_of() {
  static constexpr Passes<Pass> passes = {over_blocks<Produce<of_updates, R>, Pass>, over_blocks<Consume<of_updates, R>, Pass>,
                                          combine, over_blocks<Freeze<R>, Pass>};
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
