// Optimizer `adam`: AdamW with bias correction, over the dense mean of the gradient. Equal to torch.optim.AdamW.
#include "onebit/plugin.hpp"
#include "kernels.hpp"

namespace onebit {
namespace {

class Adam final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        real_option("lr", "1e-3", 0, 1e6, "learning rate"),
        array_option("betas", "[0.9, 0.999]", 2, 0, 1, "decay of the momentum and of the variance; both below 1"),
        real_option("eps", "1e-8", 1e-30, 1, "added to the root of the variance"),
        real_option("weight_decay", "0", 0, 1e6, "decoupled weight decay (AdamW); torch's AdamW has 0.01 by default"),
        boolean_option("bias_correction", "true", "divide momentum and variance by 1 - beta^t")};
    return {schema, std::size(schema)};
  }

  Adam(const Services&, const Options& options)
      : betas_(AdamBetas::checked("adam", options.reals("betas"))),
        eps_(options.real("eps")),
        bias_correction_(options.boolean("bias_correction")) {}

  void declare(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    momentum_ = state.per_element("momentum");
    variance_ = state.per_element("variance");
    updates_ = state.per_model("updates");
  }

  void plan(const Step&, const Totals& totals, Plan& plan) override {
    const int64_t update = static_cast<int64_t>(*static_cast<const double*>(totals.slots[updates_])) + 1;
    scalars_ = AdamScalars(betas_, eps_, bias_correction_ ? update : 0);
    plan.add_round(RoundKind::dense, Of::gradient);
  }

  void consume(const Step& step, int, const Tile& tile) const override {
    float* const momentum = static_cast<float*>(tile.slots[momentum_]);
    float* const variance = static_cast<float*>(tile.slots[variance_]);
    for (const Block& block : Slice<const Block>{tile.blocks, tile.block_count}) {
      const Group& group = step.groups[block.group];
      const double keep = 1 - group.learning_rate * group.weight_decay;
      update_block(scalars_, static_cast<float>(group.learning_rate), static_cast<float>(keep), block.count,
                   tile.mean + block.packed, momentum + block.flat, variance + block.flat, block.parameter);
    }
  }

  void combine(const Step&, const Totals& totals) override { *static_cast<double*>(totals.slots[updates_]) += 1; }

 private:
  const AdamBetas betas_;
  const double eps_;
  const bool bias_correction_;
  int momentum_ = -1, variance_ = -1, updates_ = -1;
  AdamScalars scalars_;  // of the step that was planned last
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("adam", "0.1.0", onebit::component<onebit::Adam>("adam"))
