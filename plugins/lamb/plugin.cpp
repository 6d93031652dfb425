// Optimizer `lamb`: Adam's direction, and a step for each tensor that is a share of its own size. You et al., Large batch
// optimization for deep learning, arXiv 1904.00962. Dense: what onebit_lamb is measured against.
//
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  u = m' / (sqrt(v') + eps) + wd p      ' = bias-corrected
//   c = clip(|p| / |u|, min_coeff, max_coeff), a tensor each;  p -= lr c u
#include "onebit/plugin.hpp"
#include "kernels.hpp"

namespace onebit {
namespace {

class Lamb final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        real_option("lr", "1e-3", 0, 1e6, "learning rate"),
        array_option("betas", "[0.9, 0.999]", 2, 0, 1, "decay of the momentum and of the variance; both below 1"),
        real_option("eps", "1e-8", 1e-30, 1, "added to the root of the variance"),
        real_option("weight_decay", "0", 0, 1e6, "decoupled weight decay"),
        boolean_option("bias_correction", "true", "divide momentum and variance by 1 - beta^t"),
        TrustRatios::maximum_option(),
        TrustRatios::minimum_option()};
    return {schema, std::size(schema)};
  }

  Lamb(const Services&, const Options& options)
      : betas_(AdamBetas::checked("lamb", options.reals("betas"))),
        eps_(options.real("eps")),
        bias_correction_(options.boolean("bias_correction")),
        ratios_("lamb", options) {}

  void declare(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    momentum_ = state.per_element("momentum");
    variance_ = state.per_element("variance");
    ratios_.declare(state);
    coefficient_ = state.per_tensor("coefficient");
    updates_ = state.per_model("updates");
  }

  void plan(const Step&, const Totals& totals, Plan& plan) override {
    const auto update = static_cast<int64_t>(*doubles(totals.slots, updates_)) + 1;
    scalars_ = AdamScalars(betas_, eps_, bias_correction_ ? update : 0);
    plan.add_round(RoundKind::dense, Of::gradient);
    plan.apply = true;
  }

  void consume(const Step& step, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const auto decay = static_cast<float>(step.groups[block.group].weight_decay);
      ratios_.add(
          tile, block,
          kernels::update_moments(scalars_, decay, block.count, tile.mean + block.packed, floats(tile, momentum_) + block.flat,
                                  floats(tile, variance_) + block.flat, block.parameter));
    }
  }

  void combine(const Step&, const Totals& totals) override {
    for (int64_t tensor = 0; tensor < totals.tensor_count; ++tensor)
      doubles(totals.slots, coefficient_)[tensor] = ratios_.of(totals, tensor).value_or(1);
    *doubles(totals.slots, updates_) += 1;
  }

  void apply(const Step& step, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const Group& group = step.groups[block.group];
      const double rate = group.learning_rate * doubles(tile.slots, coefficient_)[block.tensor];
      kernels::step_by_moments(scalars_, {static_cast<float>(rate), static_cast<float>(group.weight_decay)}, block.count,
                               floats(tile, momentum_) + block.flat, floats(tile, variance_) + block.flat, block.parameter);
    }
  }

 private:
  static Slice<const Block> blocks(const Tile& tile) { return {tile.blocks, tile.block_count}; }
  static double* doubles(void* const* slots, int slot) { return static_cast<double*>(slots[slot]); }
  static float* floats(const Tile& tile, int slot) { return static_cast<float*>(tile.slots[slot]); }

  const AdamBetas betas_;
  const double eps_;
  const bool bias_correction_;
  TrustRatios ratios_;
  int momentum_ = -1, variance_ = -1, coefficient_ = -1, updates_ = -1;
  AdamScalars scalars_;  // of the step that was planned last
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("lamb", "0.1.0", onebit::component<onebit::Lamb>("lamb"))
