// The loops are those that dense and 1-bit LAMB share.
#include "kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "onebit/lamb_loops.hpp"

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {

const kernels::Loops* table() {
  static constexpr kernels::Loops loops = {update_moments, step_by_moments};
  return &loops;
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {
HWY_EXPORT(table);
const kernels::Loops& kernels::loops() { return *HWY_DYNAMIC_DISPATCH(table)(); }
}  // namespace onebit
#endif
