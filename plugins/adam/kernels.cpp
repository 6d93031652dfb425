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

void update(const AdamScalars& scalars, const AdamBlock& block) {
  const AdamScalars s = scalars;
  const float learning_rate = block.learning_rate;
  const float keep = block.keep;
  const float* HWY_RESTRICT gradient = block.gradient;
  float* HWY_RESTRICT momentum = block.momentum;
  float* HWY_RESTRICT variance = block.variance;
  float* HWY_RESTRICT parameter = block.parameter;
  for (int64_t begin = 0; begin < block.count; begin += prefetch_run) {
    prefetch(momentum + begin, variance + begin, parameter + begin);
    const int64_t end = run_end(begin, block.count);
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
void update_block(const AdamScalars& scalars, const AdamBlock& block) { HWY_DYNAMIC_DISPATCH(update)(scalars, block); }
}  // namespace onebit
#endif
