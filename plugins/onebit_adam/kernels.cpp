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

void scale(float gradient_scale, int64_t count, Input gradient, Output message) {
  for (int64_t i = 0; i < count; ++i) message[i] = gradient[i] * gradient_scale;
}

void produce_momentum(const AdamScalars& scalars, float gradient_scale, int64_t count, Input before, Input gradient,
                      Output message) {
  const AdamScalars s = scalars;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(gradient + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) message[i] = adam_momentum(s, before[i], gradient[i] * gradient_scale);
  }
}

void produce_update(const AdamScalars& scalars, float gradient_scale, float limit, int64_t count, Input before,
                    Input reciprocal, Input gradient, Output message) {
  const AdamScalars s = scalars;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(reciprocal + begin, gradient + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i)
      message[i] = adam_momentum(s, before[i], preconditioned(reciprocal[i], gradient[i] * gradient_scale, limit));
  }
}

void produce_first_update(const AdamScalars& scalars, float gradient_scale, float limit, int64_t count, Input momentum,
                          Input reciprocal, Input gradient, Output message) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i)
    message[i] =
        adam_momentum(s, momentum[i] * reciprocal[i], preconditioned(reciprocal[i], gradient[i] * gradient_scale, limit));
}

void consume_momentum(const AdamScalars& scalars, Rates rates, int64_t count, Input mean, Input reciprocal, Output parameter) {
  const float correct = scalars.correct1;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(reciprocal + begin, parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i)
      parameter[i] = stepped_if_alive(parameter[i], reciprocal[i] * (mean[i] * correct), rates.learning_rate,
                                      rates.weight_decay, reciprocal[i]);
  }
}

void consume_update(const AdamScalars& scalars, Rates rates, int64_t count, Input mean, Input reciprocal, Output parameter) {
  const float correct = scalars.correct1;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(reciprocal + begin, parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i)
      parameter[i] = stepped_if_alive(parameter[i], mean[i] * correct, rates.learning_rate, rates.weight_decay, reciprocal[i]);
  }
}

void consume_update_alive(const AdamScalars& scalars, Rates rates, int64_t count, Input mean, Output parameter) {
  const float correct = scalars.correct1;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i)
      parameter[i] = stepped(parameter[i], mean[i] * correct, rates.learning_rate, rates.weight_decay);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {

HWY_EXPORT(update_dense);
HWY_EXPORT(sum_variance);
HWY_EXPORT(freeze);
HWY_EXPORT(scale);
HWY_EXPORT(produce_momentum);
HWY_EXPORT(produce_update);
HWY_EXPORT(produce_first_update);
HWY_EXPORT(consume_momentum);
HWY_EXPORT(consume_update);
HWY_EXPORT(consume_update_alive);

namespace kernels {

void update_dense(const AdamScalars& s, Rates rates, int64_t count, const float* gradient, float* momentum, float* variance,
                  float* parameter) {
  HWY_DYNAMIC_DISPATCH(update_dense)(s, rates, count, gradient, momentum, variance, parameter);
}
VarianceSum sum_variance(const float* variance, int64_t count) { return HWY_DYNAMIC_DISPATCH(sum_variance)(variance, count); }
void freeze(const AdamScalars& s, float floor, int64_t count, float* variance) {
  HWY_DYNAMIC_DISPATCH(freeze)(s, floor, count, variance);
}
void scale(float gradient_scale, int64_t count, const float* gradient, float* message) {
  HWY_DYNAMIC_DISPATCH(scale)(gradient_scale, count, gradient, message);
}
void produce_momentum(const AdamScalars& s, float gradient_scale, int64_t count, const float* before, const float* gradient,
                      float* message) {
  HWY_DYNAMIC_DISPATCH(produce_momentum)(s, gradient_scale, count, before, gradient, message);
}
void produce_update(const AdamScalars& s, float gradient_scale, float limit, int64_t count, const float* before,
                    const float* reciprocal, const float* gradient, float* message) {
  HWY_DYNAMIC_DISPATCH(produce_update)(s, gradient_scale, limit, count, before, reciprocal, gradient, message);
}
void produce_first_update(const AdamScalars& s, float gradient_scale, float limit, int64_t count, const float* momentum,
                          const float* reciprocal, const float* gradient, float* message) {
  HWY_DYNAMIC_DISPATCH(produce_first_update)(s, gradient_scale, limit, count, momentum, reciprocal, gradient, message);
}
void consume_momentum(const AdamScalars& s, Rates rates, int64_t count, const float* mean, const float* reciprocal,
                      float* parameter) {
  HWY_DYNAMIC_DISPATCH(consume_momentum)(s, rates, count, mean, reciprocal, parameter);
}
void consume_update(const AdamScalars& s, Rates rates, int64_t count, const float* mean, const float* reciprocal,
                    float* parameter) {
  HWY_DYNAMIC_DISPATCH(consume_update)(s, rates, count, mean, reciprocal, parameter);
}
void consume_update_alive(const AdamScalars& s, Rates rates, int64_t count, const float* mean, float* parameter) {
  HWY_DYNAMIC_DISPATCH(consume_update_alive)(s, rates, count, mean, parameter);
}

}  // namespace kernels
}  // namespace onebit
#endif
