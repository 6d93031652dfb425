// The loops are plain: the compiler vectorises them for each target that Highway asks for.
#include "kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "onebit/adam_loops.hpp"

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {

using kernels::Sync;

// The momentum in the form of messages, one gradient later.
template <bool of_updates>
float later(const AdamScalars& s, float limit, float before, float reciprocal, float gradient) {
  return adam_momentum(s, before, of_updates ? preconditioned(reciprocal, gradient, limit) : gradient);
}
template <bool of_updates>
float direction(float entry, float reciprocal) {
  return of_updates ? entry : entry * reciprocal;
}
// An entry of a message as plain momentum or gradient. Elements without a variance have none.
template <bool of_updates>
float plain(float entry, float reciprocal) {
  if (!of_updates) return entry;
  const float divided = entry / reciprocal;
  return reciprocal > 0.0f ? divided : 0.0f;
}

// The floor is that of the steps in between, too: their noise is as large as its root, and must not be divided by less.
void update_variance(const AdamScalars& scalars, float floor, Rates rates, int64_t count, Input gradient, Output momentum,
                     Output variance, Output parameter) {
  const AdamScalars s = scalars;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(momentum + begin, variance + begin, parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) {
      const float m = adam_momentum(s, momentum[i], gradient[i]);
      const float v = adam_variance(s, variance[i], gradient[i]);
      momentum[i] = m;
      variance[i] = v;
      const float r = frozen_reciprocal(s, v, floor);
      parameter[i] = stepped_if_alive(parameter[i], r * (m * s.correct1), rates.learning_rate, rates.weight_decay, r);
    }
  }
}

template <bool of_updates, bool momentum_travels>
void produce_early(const AdamScalars& scalars, float limit, float floor, float scale, int64_t count, Input gradient,
                   Input momentum, Input variance, Output message) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) {
    const float r = frozen_reciprocal(s, variance[i], floor), g = gradient[i] * scale;
    const float before = of_updates ? momentum[i] * r : momentum[i];
    const float entry = of_updates ? preconditioned(r, g, limit) : g;
    message[i] = momentum_travels ? adam_momentum(s, before, entry) : entry;
  }
}

template <bool of_updates, bool momentum_travels>
void consume_early(const AdamScalars& scalars, float floor, Rates rates, int64_t count, Input mean, Input variance,
                   Output momentum, Output parameter) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) {
    const float r = frozen_reciprocal(s, variance[i], floor), entry = plain<of_updates>(mean[i], r);
    const float m = momentum_travels ? entry : adam_momentum(s, momentum[i], entry);
    momentum[i] = m;
    parameter[i] = stepped_if_alive(parameter[i], r * (m * s.correct1), rates.learning_rate, rates.weight_decay, r);
  }
}

template <bool of_updates>
void freeze_all(const AdamScalars& scalars, float floor, int64_t count, Input parameter, Output momentum, Output variance,
                Output anchor) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) {
    const float r = frozen_reciprocal(s, variance[i], floor), corrected = momentum[i] * s.correct1;
    variance[i] = r;
    momentum[i] = of_updates ? corrected * r : corrected;
    anchor[i] = parameter[i];
  }
}

template <bool of_updates>
void step_locally(const AdamScalars& scalars, float limit, Rates rates, float scale, int64_t count, Input gradient,
                  Input reciprocal, Output momentum, Output u, Output parameter) {
  const AdamScalars s = scalars;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(gradient + begin, reciprocal + begin, momentum + begin, u + begin, parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) {
      const float x = later<of_updates>(s, limit, momentum[i], reciprocal[i], gradient[i] * scale);
      momentum[i] = x;
      u[i] += rates.learning_rate * x;
      parameter[i] = stepped_if_alive(parameter[i], direction<of_updates>(x, reciprocal[i]), rates.learning_rate,
                                      rates.weight_decay, reciprocal[i]);
    }
  }
}

template <bool of_updates>
void produce_sync(const AdamScalars& scalars, float limit, const Sync& sync, float scale, int64_t count, Input gradient,
                  Input momentum, Input reciprocal, Input u, Output message) {
  const AdamScalars s = scalars;
  const float weight = sync.weight, own = sync.own;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(gradient + begin, momentum + begin, reciprocal + begin, u + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i)
      message[i] = u[i] * weight + later<of_updates>(s, limit, momentum[i], reciprocal[i], gradient[i] * scale) * own;
  }
}

template <bool of_updates>
void consume_sync(const Sync& sync, int64_t count, Input mean, Input reciprocal, Output momentum, Output u, Output anchor,
                  Output parameter) {
  const float rate = sync.rate, share = sync.share, keep = sync.keep;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(reciprocal + begin, momentum + begin, u + begin, anchor + begin, parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) {
      const float moved = anchor[i] * keep - rate * direction<of_updates>(mean[i], reciprocal[i]);
      const float p = reciprocal[i] > 0.0f ? moved : anchor[i];
      momentum[i] = mean[i] * share;
      u[i] = 0.0f;
      anchor[i] = p;
      parameter[i] = p;
    }
  }
}

void add_gradient(float scale, int64_t count, Input gradient, Output sum) {
  for (int64_t i = 0; i < count; ++i) sum[i] += gradient[i] * scale;
}
void produce_gradient(float weight, float scale, int64_t count, Input gradient, Input sum, Output message) {
  for (int64_t i = 0; i < count; ++i) message[i] = (sum[i] + gradient[i] * scale) * weight;
}

template <bool of_updates, bool momentum_travels>
const kernels::Loops* table_of() {
  static constexpr kernels::Loops loops = {update_dense,
                                           add_gradient,
                                           produce_gradient,
                                           update_variance,
                                           sum_variance,
                                           produce_early<of_updates, momentum_travels>,
                                           consume_early<of_updates, momentum_travels>,
                                           freeze_all<of_updates>,
                                           step_locally<of_updates>,
                                           produce_sync<of_updates>,
                                           consume_sync<of_updates>};
  return &loops;
}
const kernels::Loops* table(bool of_updates, bool momentum_travels) {
  if (of_updates) return momentum_travels ? table_of<true, true>() : table_of<true, false>();
  return momentum_travels ? table_of<false, true>() : table_of<false, false>();
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {
HWY_EXPORT(table);
const kernels::Loops& kernels::loops(bool of_updates, bool momentum_travels) {
  return *HWY_DYNAMIC_DISPATCH(table)(of_updates, momentum_travels);
}
}  // namespace onebit
#endif
