// SPDX-License-Identifier: Apache-2.0
// Optimizer `lamb`: Adam's direction, and a step for each tensor that is a share of its own size. You et al., Large batch
// optimization for deep learning, arXiv 1904.00962. Dense: what onebit_lamb is measured against.
//
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  u = m' / (sqrt(v') + eps) + wd p      ' = bias-corrected
//   c = clip(|p| / |u|, min_coeff, max_coeff), a tensor each;  p -= lr c u              1 where exempt (always_adapt)
#include "onebit/plugin.hpp"
#include "kernels.hpp"
#include "onebit/adaptive/adam_options.hpp"

namespace onebit {
namespace {

class Lamb final : public ProgramOptimizer<kernels::Pass> {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema =
        AdamOptions::and_also({TrustRatios::maximum_option(), TrustRatios::minimum_option(), TrustRatios::always_option()});
    return {schema.data(), schema.size()};
  }

  Lamb(const Services&, const Options& options) : ProgramOptimizer(kernels::passes()), adam_(options) {
    pass.ratios = TrustRatios::checked(options);
  }

  void declare_state(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    pass.momentum = state.per_element("momentum");
    pass.variance = state.per_element("variance");
    pass.ratios.declare(state);
    pass.coefficient = state.per_tensor("coefficient");
    pass.updates = state.per_model("updates");
  }

  void plan(const Step&, const Totals& totals, Plan& plan) override {
    pass.scalars = adam_.scalars(counter(totals, pass.updates) + 1);
    pass.ages = adam_.ages(counter(totals, pass.updates) + 1);
    plan.add_round(RoundKind::dense, Of::gradient);
    plan.apply = true;
  }

 private:
  const AdamOptions adam_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("lamb", "1.0.0", onebit::component<onebit::Lamb>("lamb"))
