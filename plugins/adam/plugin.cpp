// SPDX-License-Identifier: Apache-2.0
// Optimizer `adam`: AdamW (Loshchilov and Hutter, arXiv 1711.05101) with bias correction, over the dense mean of the
// gradient. As torch.optim.AdamW.
#include "onebit/plugin.hpp"
#include "kernels.hpp"
#include "onebit/adaptive/adam_options.hpp"

namespace onebit {
namespace {

class Adam final : public ProgramOptimizer<kernels::Pass> {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema = AdamOptions::and_also({});
    return {schema.data(), schema.size()};
  }

  Adam(const Services&, const Options& options) : ProgramOptimizer(kernels::passes()), adam_(options) {}

  void declare_state(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    pass.momentum = state.per_element("momentum");
    pass.variance = state.per_element("variance");
    pass.updates = state.per_model("updates");
  }

  void plan(const Step&, const Totals& totals, Plan& plan) override {
    pass.scalars = adam_.scalars(counter(totals, pass.updates) + 1);
    pass.ages = adam_.ages(counter(totals, pass.updates) + 1);
    plan.add_round(RoundKind::dense, Of::gradient);
  }

 private:
  const AdamOptions adam_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("adam", "1.0.0", onebit::component<onebit::Adam>("adam"))
