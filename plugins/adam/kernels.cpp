// The loop is that of all optimizers that begin as Adam does.
#include "kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "onebit/adam_loops.hpp"

#if HWY_ONCE
namespace onebit {
HWY_EXPORT(update_dense);
void kernels::update(const AdamScalars& scalars, Rates rates, int64_t count, const float* gradient, float* momentum,
                     float* variance, float* parameter) {
  HWY_DYNAMIC_DISPATCH(update_dense)(scalars, rates, count, gradient, momentum, variance, parameter);
}
}  // namespace onebit
#endif
