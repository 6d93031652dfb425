// SPDX-License-Identifier: Apache-2.0
// The loop is that of all optimizers that begin as Adam does.
#include "kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "onebit/targets.hpp"
//
#include "onebit/adaptive/adam_loops.hpp"

ONEBIT_PROGRAMS

using kernels::Pass;

struct Consume {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    update_dense(scalars_of(pass.scalars, pass.ages, view, block), rates_of(view, block), block.count, view.mean + block.packed,
                 floats(view, block, pass.momentum), floats(view, block, pass.variance), block.parameter);
  }
};
struct CombineModel {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view) { *doubles(view, pass.updates) += 1; }
};

inline const Passes<Pass>* table() {
  static constexpr Passes<Pass> passes = {nullptr, over_blocks<Consume, Pass>, over_model<CombineModel, Pass>, nullptr};
  return &passes;
}

ONEBIT_END_PROGRAMS

#if ONEBIT_ONCE
namespace onebit {
ONEBIT_TARGETS_OF(table)
const Passes<kernels::Pass>& kernels::passes() { return *ONEBIT_BEST(table)(); }
}  // namespace onebit
#endif
