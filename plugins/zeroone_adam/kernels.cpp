// SPDX-License-Identifier: Apache-2.0
// The formulas are in plugin.cpp; for tensors that are exempt from compression, those of Adam.
#include "kernels.hpp"

#include <cfloat>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "onebit/targets.hpp"
//
#include "onebit/adaptive/adam_loops.hpp"

ONEBIT_PROGRAMS

using kernels::LocalSteps;
using kernels::Pass;
using kernels::Stage;
using kernels::Sync;

struct Limits {
  float gradient, step;
};

// The momentum in the form of messages, one gradient later.
template <bool of_updates>
ONEBIT_LOOP float later(const AdamScalars& s, float limit, float before, float reciprocal, float gradient) {
  return adam_momentum(s, before, of_updates ? preconditioned(reciprocal, gradient, limit) : gradient);
}
template <bool of_updates>
ONEBIT_LOOP float direction(float entry, float reciprocal, float limit) {
  return of_updates ? clamped(entry, limit) : entry * reciprocal;
}
// An entry of a message as plain momentum or gradient. Elements without a variance have none.
template <bool of_updates>
ONEBIT_LOOP float plain(float entry, float reciprocal) {
  if (!of_updates) return entry;
  const float divided = entry / reciprocal;
  return reciprocal > 0.0f ? divided : 0.0f;
}

ONEBIT_LOOP float floor_of(const Pass& pass, const View& view, const Block& block) {
  return pass.sums.floor(view, block.tensor, pass.variance_floor);
}
// It is that of the steps in between, too: their noise is as large as its root, and must not be divided by less. While there is
// none in the momentum, a step that updates the variance is Adam's.
ONEBIT_LOOP float dense_floor_of(const Pass& pass, const View& view, const Block& block) {
  const float floor = floor_of(pass, view, block);
  return pass.exact && floor > FLT_MIN ? FLT_MIN : floor;
}

// For a tensor that no rank had a gradient of in some steps, this one perhaps among them.
ONEBIT_LOOP AdamScalars early_scalars(const Pass& pass, const View& view, int64_t tensor, bool absent) {
  return younger(pass.scalars, pass.ages, missed_steps(view, tensor) + (absent ? 1 : 0),
                 static_cast<int64_t>(doubles(view, pass.missed_variance)[tensor]));
}
ONEBIT_LOOP AdamScalars early_scalars(const Pass& pass, const View& view, const Block& block) {
  return early_scalars(pass, view, block.tensor, is_absent(block));
}

// R: what the reciprocal is kept as after the freeze.
template <bool of_updates, bool momentum_travels, class R>
struct Produce {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    const Input gradient = block.gradient, momentum = floats(view, block, pass.momentum);
    const Input u = floats(view, block, pass.u);
    const Output message = view.message + block.packed;
    const float scale_by = *view.gradient_scale;
    if (pass.stage != Stage::early) {
      const Sync sync = pass.local_steps.sync(view, block.group);
      if (!is_dense(block))
        return of_sync(pass.scalars, pass.limit, sync, scale_by, block.count, gradient, momentum,
                       elements_of<R>(view, block, pass.reciprocal), u, message);
      const float share = sync.share;
      return each(block.count, [=](int64_t i) ONEBIT_BODY { message[i] = (u[i] + gradient[i] * scale_by) * share; });
    }
    if (is_dense(block)) return scale(scale_by, block.count, gradient, message);
    early(early_scalars(pass, view, block), pass.limit, floor_of(pass, view, block), scale_by, block.count, gradient, momentum,
          floats(view, block, pass.variance), message);
  }
  static ONEBIT_LOOP void early(const AdamScalars& scalars, float limit, float floor, float scale_by, int64_t count,
                                Input gradient, Input momentum, Input variance, Output message) {
    const AdamScalars s = scalars;
    each(count, [=](int64_t i) ONEBIT_BODY {
      const float r = frozen_reciprocal(s, variance[i], floor), g = gradient[i] * scale_by;
      const float before = of_updates ? momentum[i] * r : momentum[i];
      const float entry = of_updates ? preconditioned(r, g, limit) : g;
      message[i] = momentum_travels ? adam_momentum(s, before, entry) : entry;
    });
  }
  static ONEBIT_LOOP void of_sync(const AdamScalars& scalars, float limit, Sync sync, float scale_by, int64_t count,
                                  Input gradient, Input momentum, InputOf<R> reciprocal, Input u, Output message) {
    const AdamScalars s = scalars;
    each(
        count,
        [=](int64_t i) ONEBIT_BODY {
          const float x = later<of_updates>(s, limit, momentum[i], as_float(reciprocal[i]), gradient[i] * scale_by);
          message[i] = u[i] * sync.weight + x * sync.own;
        },
        gradient, momentum, reciprocal, u);
  }
};

template <bool of_updates, bool momentum_travels, class R>
struct Consume {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    if (is_absent(block)) return;  // the freeze is all that it takes part in
    if (pass.refresh.is_round(view)) return refresh(pass, view, block, view.mean + block.packed);
    if (is_dense(block)) return consume_dense(pass, view, block);
    const Output momentum = floats(view, block, pass.momentum), variance = floats(view, block, pass.variance);
    const InputOf<R> reciprocal = elements_of<R>(view, block, pass.reciprocal);
    const Output u = floats(view, block, pass.u), parameter = block.parameter;
    const Input mean = view.mean == nullptr ? nullptr : view.mean + block.packed;  // a local step has none
    const Rates rates = rates_of(view, block);
    if (of_updates && pass.stage != Stage::variance && !pass.refresh.is_due())
      note_clamped(pass, view, block, variance, reciprocal);
    switch (pass.stage) {
      case Stage::variance:
        update_variance(early_scalars(pass, view, block), dense_floor_of(pass, view, block), rates, block.count, mean, momentum,
                        variance, parameter);
        return add_variance(pass.sums, view, block, variance);
      case Stage::early:
        return early(early_scalars(pass, view, block), pass.step_limit, floor_of(pass, view, block), rates, block.count, mean,
                     variance, momentum, parameter);
      case Stage::local:
        return step_locally(pass.scalars, {pass.limit, pass.step_limit}, rates, *view.gradient_scale, block.count,
                            block.gradient, reciprocal, momentum, u, parameter);
      case Stage::sync:
        return come_together(pass.local_steps.sync(view, block.group), pass.step_limit, block.count, mean, reciprocal, momentum,
                             u, floats(view, block, pass.anchor), parameter);
    }
  }

  static ONEBIT_LOOP void refresh(const Pass& pass, const View& view, const Block& block, Input gradient) {
    if (is_dense(block)) return;
    refresh_reciprocal<R>(pass.refresh, pass.sums, view, block, floor_of(pass, view, block), pass.scalars.eps, gradient,
                          elements_of<R>(view, block, pass.reciprocal));
  }
  static ONEBIT_LOOP void note_clamped(const Pass& pass, const View& view, const Block& block, Input variance,
                                       InputOf<R> reciprocal) {
    if (pass.stage != Stage::early)
      return add_clamped(pass.clamped_share, view, block, pass.limit,
                         [=](int64_t i) ONEBIT_BODY { return as_float(reciprocal[i]); });
    const AdamScalars s = early_scalars(pass, view, block);
    const float floor = floor_of(pass, view, block);
    add_clamped(pass.clamped_share, view, block, pass.limit,
                [=](int64_t i) ONEBIT_BODY { return frozen_reciprocal(s, variance[i], floor); });
  }

  // Between syncs, gradients are summed up.
  static ONEBIT_LOOP void consume_dense(const Pass& pass, const View& view, const Block& block) {
    const Output u = floats(view, block, pass.u), anchor = floats(view, block, pass.anchor);
    const Output parameter = block.parameter;
    if (pass.stage == Stage::local) {
      const Input gradient = block.gradient;
      const float scale_by = *view.gradient_scale;
      return each(block.count, [=](int64_t i) ONEBIT_BODY { u[i] += gradient[i] * scale_by; });
    }
    Rates rates = rates_of(view, block);
    if (pass.stage == Stage::sync) rates.learning_rate = pass.local_steps.sync(view, block.group).total;
    update_dense(scalars_of(pass.dense, pass.dense_ages, view, block), rates, block.count, view.mean + block.packed,
                 floats(view, block, pass.momentum), floats(view, block, pass.variance), parameter);
    if (pass.stage != Stage::sync) return;
    each(block.count, [=](int64_t i) ONEBIT_BODY {
      u[i] = 0.0f;
      anchor[i] = parameter[i];
    });
  }

  static ONEBIT_LOOP void update_variance(const AdamScalars& scalars, float floor, Rates rates, int64_t count, Input gradient,
                                          Output momentum, Output variance, Output parameter) {
    const AdamScalars s = scalars;
    each(
        count,
        [=](int64_t i) ONEBIT_BODY {
          const float m = adam_momentum(s, momentum[i], gradient[i]);
          const float v = adam_variance(s, variance[i], gradient[i]);
          momentum[i] = m;
          variance[i] = v;
          const float r = frozen_reciprocal(s, v, floor);
          parameter[i] = stepped_if_alive(parameter[i], r * (m * s.correct1), rates.learning_rate, rates.weight_decay, r);
        },
        momentum, variance, parameter);
  }

  static ONEBIT_LOOP void early(const AdamScalars& scalars, float limit, float floor, Rates rates, int64_t count, Input mean,
                                Input variance, Output momentum, Output parameter) {
    const AdamScalars s = scalars;
    each(count, [=](int64_t i) ONEBIT_BODY {
      const float r = frozen_reciprocal(s, variance[i], floor), entry = plain<of_updates>(mean[i], r);
      const float m = momentum_travels ? entry : adam_momentum(s, momentum[i], entry);
      momentum[i] = m;
      const float taken = r * (m * s.correct1);
      parameter[i] = stepped_if_alive(parameter[i], of_updates ? clamped(taken, limit) : taken, rates.learning_rate,
                                      rates.weight_decay, r);
    });
  }

  static ONEBIT_LOOP void step_locally(const AdamScalars& scalars, Limits limits, Rates rates, float scale_by, int64_t count,
                                       Input gradient, InputOf<R> reciprocal, Output momentum, Output u, Output parameter) {
    const AdamScalars s = scalars;
    each(
        count,
        [=](int64_t i) ONEBIT_BODY {
          const float r = as_float(reciprocal[i]),
                      x = later<of_updates>(s, limits.gradient, momentum[i], r, gradient[i] * scale_by);
          momentum[i] = x;
          u[i] += rates.learning_rate * x;
          parameter[i] = stepped_if_alive(parameter[i], direction<of_updates>(x, r, limits.step), rates.learning_rate,
                                          rates.weight_decay, r);
        },
        gradient, reciprocal, momentum, u, parameter);
  }

  static ONEBIT_LOOP void come_together(Sync sync, float step_limit, int64_t count, Input mean, InputOf<R> reciprocal,
                                        Output momentum, Output u, Output anchor, Output parameter) {
    const float limit = step_limit / sync.share;  // of as many steps
    each(
        count,
        [=](int64_t i) ONEBIT_BODY {
          const float r = as_float(reciprocal[i]);
          const float moved = anchor[i] * sync.keep - sync.rate * direction<of_updates>(mean[i], r, limit);
          const float p = r > 0.0f ? moved : anchor[i];
          momentum[i] = mean[i] * sync.share;
          u[i] = 0.0f;
          anchor[i] = p;
          parameter[i] = p;
        },
        reciprocal, momentum, u, anchor, parameter);
  }
};

struct CombineTensor {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, int64_t tensor) {
    if (pass.stage != Stage::variance) {
      if (is_absent(view, tensor)) return;
      if (is_first()) pass.clamped_share.combine_tensor(view, tensor);
      if (pass.refresh.is_due() && !is_dense(view, tensor)) combine_refreshed(pass.sums, view, tensor);
      return;
    }
    if (is_absent(view, tensor)) {
      if (!is_first()) return;
      doubles(view, pass.missed_variance)[tensor] += static_cast<double>(pass.variance_steps);
      if (doubles(view, pass.sums.mean)[tensor] <= 0)
        doubles(view, pass.sums.unseen)[tensor] = static_cast<double>(view.elements[tensor]);
      return;
    }
    combine_variance(pass.sums, view, tensor, static_cast<double>(early_scalars(pass, view, tensor, false).correct2));
  }
};
struct CombineModel {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view) {
    if (pass.stage != Stage::variance) pass.clamped_share.combine_model(view);
    pass.refresh.note(view);
    if (pass.stage == Stage::variance) {
      *doubles(view, pass.variance_updates) += 1;
      if (pass.holds) *doubles(view, pass.held_updates) += 1;
      *doubles(view, pass.variance_age) = *doubles(view, pass.updates) + 1;
      pass.freeze.observe(view, pass.sums);
    }
    if (pass.stage != Stage::local) *doubles(view, pass.rounds) += 1;
    if (pass.stage == Stage::local) pass.local_steps.add(view);
    if (pass.stage == Stage::sync) pass.local_steps.forget(view);
    if (counter(view, pass.frozen) > 0) *doubles(view, pass.frozen_steps) += 1;
    if (pass.freezes) *doubles(view, pass.frozen) = static_cast<double>(view.number);
    *doubles(view, pass.updates) += 1;
  }
};
inline void combine(const Pass& pass, const View& view, const Totals& totals) {
  if (pass.stage == Stage::variance || pass.refresh.is_due() || pass.clamped_share.counts)
    over_tensors<CombineTensor>(pass, view, totals);
  over_model<CombineModel>(pass, view, totals);
}

// variance -> r, momentum -> x, anchor = parameter.
template <bool of_updates, class R>
struct Freeze {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    const Output momentum = floats(view, block, pass.momentum), anchor = floats(view, block, pass.anchor);
    const Input variance = floats(view, block, pass.variance);
    const OutputOf<R> reciprocal = elements_of<R>(view, block, pass.reciprocal);
    const Input parameter = block.parameter;
    if (is_dense(block)) return each(block.count, [=](int64_t i) ONEBIT_BODY { anchor[i] = parameter[i]; });
    const AdamScalars s = early_scalars(pass, view, block);
    const float floor = floor_of(pass, view, block);
    each(block.count, [=](int64_t i) ONEBIT_BODY {
      const float r = kept(frozen_reciprocal(s, variance[i], floor), reciprocal[i]), corrected = momentum[i] * s.correct1;
      momentum[i] = of_updates ? corrected * r : corrected;
      anchor[i] = parameter[i];
    });
  }
};

template <bool of_updates, bool momentum_travels, class R>
const Passes<Pass>* passes_of() {
  static constexpr Passes<Pass> passes = {over_blocks<Produce<of_updates, momentum_travels, R>, Pass>,
                                          over_blocks<Consume<of_updates, momentum_travels, R>, Pass>, combine,
                                          over_blocks<Freeze<of_updates, R>, Pass>};
  return &passes;
}
template <class R>
const Passes<Pass>* table_of(bool of_updates, bool momentum_travels) {
  if (of_updates) return momentum_travels ? passes_of<true, true, R>() : passes_of<true, false, R>();
  return momentum_travels ? passes_of<false, true, R>() : passes_of<false, false, R>();
}
inline const Passes<Pass>* table(bool of_updates, bool momentum_travels, ElementType reciprocal) {
  return reciprocal == ElementType::bf16 ? table_of<Bf16>(of_updates, momentum_travels)
                                         : table_of<float>(of_updates, momentum_travels);
}

ONEBIT_END_PROGRAMS

#if ONEBIT_ONCE
namespace onebit {
ONEBIT_TARGETS_OF(table)
const Passes<kernels::Pass>& kernels::passes(bool of_updates, bool momentum_travels, ElementType reciprocal) {
  return *ONEBIT_BEST(table)(of_updates, momentum_travels, reciprocal);
}
}  // namespace onebit
#endif
