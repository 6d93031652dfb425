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

using kernels::Form;

// The momentum in the form of messages, one gradient later.
template <bool preconditioned>
float later(const AdamScalars& s, float limit, float before, float reciprocal, float gradient) {
  return adam_momentum(s, before, preconditioned ? onebit::preconditioned(reciprocal, gradient, limit) : gradient);
}
template <bool preconditioned>
float direction(float entry, float reciprocal) {
  return preconditioned ? entry : entry * reciprocal;
}
// An entry of a message as plain momentum or gradient. Elements without a variance have none.
template <bool preconditioned>
float plain(float entry, float reciprocal) {
  if (!preconditioned) return entry;
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

template <bool preconditioned, bool momentum_travels>
void produce_early(const AdamScalars& scalars, float limit, float floor, float scale, int64_t count, Input gradient,
                   Input momentum, Input variance, Output message) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) {
    const float r = frozen_reciprocal(s, variance[i], floor), g = gradient[i] * scale;
    const float before = preconditioned ? momentum[i] * r : momentum[i];
    const float entry = preconditioned ? onebit::preconditioned(r, g, limit) : g;
    message[i] = momentum_travels ? adam_momentum(s, before, entry) : entry;
  }
}

template <bool preconditioned, bool momentum_travels>
void consume_early(const AdamScalars& scalars, float floor, Rates rates, int64_t count, Input mean, Input variance,
                   Output momentum, Output parameter) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) {
    const float r = frozen_reciprocal(s, variance[i], floor), entry = plain<preconditioned>(mean[i], r);
    const float m = momentum_travels ? entry : adam_momentum(s, momentum[i], entry);
    momentum[i] = m;
    parameter[i] = stepped_if_alive(parameter[i], r * (m * s.correct1), rates.learning_rate, rates.weight_decay, r);
  }
}

template <bool preconditioned>
void freeze_all(const AdamScalars& scalars, float floor, int64_t count, Input parameter, Output momentum, Output variance,
                Output anchor) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) {
    const float r = frozen_reciprocal(s, variance[i], floor), corrected = momentum[i] * s.correct1;
    variance[i] = r;
    momentum[i] = preconditioned ? corrected * r : corrected;
    anchor[i] = parameter[i];
  }
}

template <bool preconditioned>
void step_locally(const AdamScalars& scalars, float limit, Rates rates, float scale, int64_t count, Input gradient,
                  Input reciprocal, Output momentum, Output u, Output parameter) {
  const AdamScalars s = scalars;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(gradient + begin, reciprocal + begin, momentum + begin, u + begin, parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) {
      const float x = later<preconditioned>(s, limit, momentum[i], reciprocal[i], gradient[i] * scale);
      momentum[i] = x;
      u[i] += rates.learning_rate * x;
      parameter[i] = stepped_if_alive(parameter[i], direction<preconditioned>(x, reciprocal[i]), rates.learning_rate,
                                      rates.weight_decay, reciprocal[i]);
    }
  }
}

template <bool preconditioned>
void produce_sync(const AdamScalars& scalars, float limit, float weight, float own, float scale, int64_t count, Input gradient,
                  Input momentum, Input reciprocal, Input u, Output message) {
  const AdamScalars s = scalars;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(gradient + begin, momentum + begin, reciprocal + begin, u + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i)
      message[i] = u[i] * weight + later<preconditioned>(s, limit, momentum[i], reciprocal[i], gradient[i] * scale) * own;
  }
}

template <bool preconditioned>
void consume_sync(float rate, float share, float keep, int64_t count, Input mean, Input reciprocal, Output momentum, Output u,
                  Output anchor, Output parameter) {
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(reciprocal + begin, momentum + begin, u + begin, anchor + begin, parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) {
      const float moved = anchor[i] * keep - rate * direction<preconditioned>(mean[i], reciprocal[i]);
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

// From a form to the loop for it.
void produce_early_as(const AdamScalars& s, Form form, float floor, float scale, int64_t count, Input gradient, Input momentum,
                      Input variance, Output message) {
  const auto loop = form.preconditioned ? (form.momentum ? produce_early<true, true> : produce_early<true, false>)
                                        : (form.momentum ? produce_early<false, true> : produce_early<false, false>);
  loop(s, form.limit, floor, scale, count, gradient, momentum, variance, message);
}
void consume_early_as(const AdamScalars& s, Form form, float floor, Rates rates, int64_t count, Input mean, Input variance,
                      Output momentum, Output parameter) {
  const auto loop = form.preconditioned ? (form.momentum ? consume_early<true, true> : consume_early<true, false>)
                                        : (form.momentum ? consume_early<false, true> : consume_early<false, false>);
  loop(s, floor, rates, count, mean, variance, momentum, parameter);
}
void freeze_as(const AdamScalars& s, Form form, float floor, int64_t count, Input parameter, Output momentum, Output variance,
               Output anchor) {
  (form.preconditioned ? freeze_all<true> : freeze_all<false>)(s, floor, count, parameter, momentum, variance, anchor);
}
void step_locally_as(const AdamScalars& s, Form form, Rates rates, float scale, int64_t count, Input gradient, Input reciprocal,
                     Output momentum, Output u, Output parameter) {
  (form.preconditioned ? step_locally<true> : step_locally<false>)(s, form.limit, rates, scale, count, gradient, reciprocal,
                                                                   momentum, u, parameter);
}
void produce_sync_as(const AdamScalars& s, Form form, float weight, float own, float scale, int64_t count, Input gradient,
                     Input momentum, Input reciprocal, Input u, Output message) {
  (form.preconditioned ? produce_sync<true> : produce_sync<false>)(s, form.limit, weight, own, scale, count, gradient, momentum,
                                                                   reciprocal, u, message);
}
void consume_sync_as(Form form, float rate, float share, float keep, int64_t count, Input mean, Input reciprocal,
                     Output momentum, Output u, Output anchor, Output parameter) {
  (form.preconditioned ? consume_sync<true> : consume_sync<false>)(rate, share, keep, count, mean, reciprocal, momentum, u,
                                                                   anchor, parameter);
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {

HWY_EXPORT(update_dense);
HWY_EXPORT(update_variance);
HWY_EXPORT(sum_variance);
HWY_EXPORT(produce_early_as);
HWY_EXPORT(consume_early_as);
HWY_EXPORT(freeze_as);
HWY_EXPORT(step_locally_as);
HWY_EXPORT(produce_sync_as);
HWY_EXPORT(consume_sync_as);
HWY_EXPORT(add_gradient);
HWY_EXPORT(produce_gradient);

namespace kernels {

void update_dense(const AdamScalars& s, Rates rates, int64_t count, const float* gradient, float* momentum, float* variance,
                  float* parameter) {
  HWY_DYNAMIC_DISPATCH(update_dense)(s, rates, count, gradient, momentum, variance, parameter);
}
void update_variance(const AdamScalars& s, float floor, Rates rates, int64_t count, const float* gradient, float* momentum,
                     float* variance, float* parameter) {
  HWY_DYNAMIC_DISPATCH(update_variance)(s, floor, rates, count, gradient, momentum, variance, parameter);
}
VarianceSum sum_variance(const float* variance, int64_t count) { return HWY_DYNAMIC_DISPATCH(sum_variance)(variance, count); }
void produce_early(const AdamScalars& s, Form form, float floor, float gradient_scale, int64_t count, const float* gradient,
                   const float* momentum, const float* variance, float* message) {
  HWY_DYNAMIC_DISPATCH(produce_early_as)(s, form, floor, gradient_scale, count, gradient, momentum, variance, message);
}
void consume_early(const AdamScalars& s, Form form, float floor, Rates rates, int64_t count, const float* mean,
                   const float* variance, float* momentum, float* parameter) {
  HWY_DYNAMIC_DISPATCH(consume_early_as)(s, form, floor, rates, count, mean, variance, momentum, parameter);
}
void freeze(const AdamScalars& s, Form form, float floor, int64_t count, const float* parameter, float* momentum,
            float* variance, float* anchor) {
  HWY_DYNAMIC_DISPATCH(freeze_as)(s, form, floor, count, parameter, momentum, variance, anchor);
}
void step_locally(const AdamScalars& s, Form form, Rates rates, float gradient_scale, int64_t count, const float* gradient,
                  const float* reciprocal, float* momentum, float* u, float* parameter) {
  HWY_DYNAMIC_DISPATCH(step_locally_as)(s, form, rates, gradient_scale, count, gradient, reciprocal, momentum, u, parameter);
}
void produce_sync(const AdamScalars& s, Form form, float weight, float own, float gradient_scale, int64_t count,
                  const float* gradient, const float* momentum, const float* reciprocal, const float* u, float* message) {
  HWY_DYNAMIC_DISPATCH(produce_sync_as)
  (s, form, weight, own, gradient_scale, count, gradient, momentum, reciprocal, u, message);
}
void consume_sync(Form form, float rate, float share, float keep, int64_t count, const float* mean, const float* reciprocal,
                  float* momentum, float* u, float* anchor, float* parameter) {
  HWY_DYNAMIC_DISPATCH(consume_sync_as)(form, rate, share, keep, count, mean, reciprocal, momentum, u, anchor, parameter);
}
void add_gradient(float gradient_scale, int64_t count, const float* gradient, float* sum) {
  HWY_DYNAMIC_DISPATCH(add_gradient)(gradient_scale, count, gradient, sum);
}
void produce_gradient(float weight, float gradient_scale, int64_t count, const float* gradient, const float* sum,
                      float* message) {
  HWY_DYNAMIC_DISPATCH(produce_gradient)(weight, gradient_scale, count, gradient, sum, message);
}

}  // namespace kernels
}  // namespace onebit
#endif
