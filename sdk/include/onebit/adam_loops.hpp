// Loops over one block that the optimizers of the Adam family share. They are plain: the compiler vectorises them for each
// target that Highway asks for.
//
// For files that Highway compiles once a target (foreach_target.h): include it after hwy/highway.h, in every pass.
#include "onebit/frozen.hpp"
#include "onebit/lanes.hpp"
#include "onebit/prefetch.hpp"

#if defined(ONEBIT_ADAM_LOOPS_HPP) == defined(HWY_TARGET_TOGGLE)  // once a target
#ifdef ONEBIT_ADAM_LOOPS_HPP
#undef ONEBIT_ADAM_LOOPS_HPP
#else
#define ONEBIT_ADAM_LOOPS_HPP
#endif

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {

using Input = const float* HWY_RESTRICT;
using Output = float* HWY_RESTRICT;

// Adam on the mean of the gradient.
inline void update_dense(const AdamScalars& scalars, Rates rates, int64_t count, Input gradient, Output momentum,
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
      parameter[i] = stepped(parameter[i], adam_direction(s, m, v), rates.learning_rate, rates.weight_decay);
    }
  }
}

// What the mean of a tensor, and of the model, needs from a block.
inline VarianceSum sum_variance(Input variance, int64_t count) {
  int64_t zeros = 0;
  for (int64_t i = 0; i < count; ++i) zeros += variance[i] > 0.0f ? 0 : 1;
  return {sum_lanes(variance, count), zeros};
}

// variance -> r, in place.
inline void freeze(const AdamScalars& scalars, float floor, int64_t count, Output variance) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) variance[i] = frozen_reciprocal(s, variance[i], floor);
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#endif
