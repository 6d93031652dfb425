// The loops are those that dense and 1-bit LAMB share.
#include "kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "onebit/lamb_loops.hpp"

#if HWY_ONCE
namespace onebit {

HWY_EXPORT(update_moments);
HWY_EXPORT(step_by_moments);

namespace kernels {

LambSquares update_moments(const AdamScalars& s, float weight_decay, int64_t count, const float* gradient, float* momentum,
                           float* variance, const float* parameter) {
  return HWY_DYNAMIC_DISPATCH(update_moments)(s, weight_decay, count, gradient, momentum, variance, parameter);
}
void step_by_moments(const AdamScalars& s, Rates rates, int64_t count, const float* momentum, const float* variance,
                     float* parameter) {
  HWY_DYNAMIC_DISPATCH(step_by_moments)(s, rates, count, momentum, variance, parameter);
}

}  // namespace kernels
}  // namespace onebit
#endif
