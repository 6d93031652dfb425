// The loop is plain: the compiler vectorises it for each target that Highway asks for.
#include "kernels.hpp"

#include "arithmetic.hpp"
#include "onebit/prefetch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {

using Input = const float* HWY_RESTRICT;
using Output = float* HWY_RESTRICT;

void update(const AdamScalars& scalars, float learning_rate, float keep, int64_t count, Input gradient, Output momentum,
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
      parameter[i] = adamw_parameter(parameter[i], adam_direction(s, m, v), learning_rate, keep);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {
HWY_EXPORT(update);
void update_block(const AdamScalars& scalars, float learning_rate, float keep, int64_t count, const float* gradient,
                  float* momentum, float* variance, float* parameter) {
  HWY_DYNAMIC_DISPATCH(update)(scalars, learning_rate, keep, count, gradient, momentum, variance, parameter);
}
}  // namespace onebit
#endif
