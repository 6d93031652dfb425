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

template <bool of_updates>
void produce(const AdamScalars& scalars, float gradient_scale, float limit, int64_t count, Input before, Input reciprocal,
             Input gradient, Output message) {
  const AdamScalars s = scalars;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(gradient + begin);
    if constexpr (of_updates) prefetch(reciprocal + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) {
      const float g = gradient[i] * gradient_scale;
      message[i] = adam_momentum(s, before[i], of_updates ? preconditioned(reciprocal[i], g, limit) : g);
    }
  }
}

void produce_first_update(const AdamScalars& scalars, float gradient_scale, float limit, int64_t count, Input momentum,
                          Input reciprocal, Input gradient, Output message) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i)
    message[i] =
        adam_momentum(s, momentum[i] * reciprocal[i], preconditioned(reciprocal[i], gradient[i] * gradient_scale, limit));
}

template <bool of_updates>
void consume(const AdamScalars& scalars, Rates rates, int64_t count, Input mean, Input reciprocal, Output parameter) {
  const float correct = scalars.correct1;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(reciprocal + begin, parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) {
      const float corrected = mean[i] * correct;
      parameter[i] = stepped_if_alive(parameter[i], of_updates ? corrected : reciprocal[i] * corrected, rates.learning_rate,
                                      rates.weight_decay, reciprocal[i]);
    }
  }
}

void consume_update_alive(const AdamScalars& scalars, Rates rates, int64_t count, Input mean, Input, Output parameter) {
  const float correct = scalars.correct1;
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(parameter + begin);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i)
      parameter[i] = stepped(parameter[i], mean[i] * correct, rates.learning_rate, rates.weight_decay);
  }
}

const kernels::Loops* table(bool of_updates) {
  static constexpr kernels::Loops updates = {update_dense,  sum_variance,         freeze,        scale,
                                             produce<true>, produce_first_update, consume<true>, consume_update_alive};
  static constexpr kernels::Loops momenta = {update_dense,   sum_variance,   freeze,         scale,
                                             produce<false>, produce<false>, consume<false>, consume<false>};
  return of_updates ? &updates : &momenta;
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {
HWY_EXPORT(table);
const kernels::Loops& kernels::loops(bool of_updates) { return *HWY_DYNAMIC_DISPATCH(table)(of_updates); }
}  // namespace onebit
#endif
