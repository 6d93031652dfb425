// SPDX-License-Identifier: Apache-2.0
// The loops are those that dense and 1-bit LAMB share.
#include "kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "onebit/targets.hpp"
//
#include "onebit/adaptive/lamb_loops.hpp"

ONEBIT_PROGRAMS

using kernels::Pass;

struct Consume {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    update_moments(pass.ratios, scalars_of(pass.scalars, pass.ages, view, block), view, block, view.mean + block.packed,
                   floats(view, block, pass.momentum), floats(view, block, pass.variance));
  }
};

struct CombineTensor {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, int64_t tensor) {
    if (is_absent(view, tensor)) return;
    const double ratio = trust_ratio(pass.ratios, view, tensor);
    if (is_first()) doubles(view, pass.coefficient)[tensor] = ratio > 0 ? ratio : 1;
  }
};
struct CombineModel {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view) { *doubles(view, pass.updates) += 1; }
};
inline void combine(const Pass& pass, const View& view, const Totals& totals) {
  over_tensors<CombineTensor>(pass, view, totals);
  over_model<CombineModel>(pass, view, totals);
}

struct Apply {
  static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
    step_by_moments(scalars_of(pass.scalars, pass.ages, view, block),
                    scaled_rates(view, block, doubles(view, pass.coefficient)[block.tensor]), block.count,
                    floats(view, block, pass.momentum), floats(view, block, pass.variance), block.parameter);
  }
};

inline const Passes<Pass>* table() {
  static constexpr Passes<Pass> passes = {nullptr, over_blocks<Consume, Pass>, combine, over_blocks<Apply, Pass>};
  return &passes;
}

ONEBIT_END_PROGRAMS

#if ONEBIT_ONCE
namespace onebit {
ONEBIT_TARGETS_OF(table)
const Passes<kernels::Pass>& kernels::passes() { return *ONEBIT_BEST(table)(); }
}  // namespace onebit
#endif
