// Optimizer `lamb`: Adam's direction, and a step for each tensor that is a share of its own size. You et al., Large batch
// optimization for deep learning, arXiv 1904.00962. Dense: what onebit_lamb is measured against.
//
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  u = m' / (sqrt(v') + eps) + wd p      ' = bias-corrected
//   c = clip(|p| / |u|, min_coeff, max_coeff), a tensor each;  p -= lr c u
#include "onebit/plugin.hpp"
#include "kernels.hpp"
#include "onebit/adam_options.hpp"

namespace onebit {
namespace {

class Lamb final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema =
        AdamOptions::and_also({TrustRatios::maximum_option(), TrustRatios::minimum_option()});
    return {schema.data(), schema.size()};
  }

  Lamb(const Services&, const Options& options) : adam_(options), ratios_(options), loops_(kernels::loops()) {}

  void declare(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    momentum_ = state.per_element("momentum");
    variance_ = state.per_element("variance");
    ratios_.declare(state);
    coefficient_ = state.per_tensor("coefficient");
    updates_ = state.per_model("updates");
  }

  void plan(const Step&, const Totals& totals, Plan& plan) override {
    scalars_ = adam_.scalars(counter(totals, updates_) + 1);
    plan.add_round(RoundKind::dense, Of::gradient);
    plan.apply = true;
  }

  void consume(const Step& step, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const auto decay = static_cast<float>(step.groups[block.group].weight_decay);
      ratios_.add(tile, block,
                  loops_.update_moments(scalars_, decay, block.count, tile.mean + block.packed, floats(tile, block, momentum_),
                                        floats(tile, block, variance_), block.parameter));
    }
  }

  void combine(const Step&, const Totals& totals) override {
    for (int64_t tensor = 0; tensor < totals.tensor_count; ++tensor)
      doubles(totals, coefficient_)[tensor] = ratios_.of(totals, tensor).value_or(1);
    *doubles(totals, updates_) += 1;
  }

  void apply(const Step& step, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const Group& group = step.groups[block.group];
      const double rate = group.learning_rate * doubles(tile, coefficient_)[block.tensor];
      loops_.step_by_moments(scalars_, {static_cast<float>(rate), static_cast<float>(group.weight_decay)}, block.count,
                             floats(tile, block, momentum_), floats(tile, block, variance_), block.parameter);
    }
  }

 private:
  const AdamOptions adam_;
  TrustRatios ratios_;
  const kernels::Loops& loops_;
  int momentum_ = -1, variance_ = -1, coefficient_ = -1, updates_ = -1;
  AdamScalars scalars_;  // of the step that was planned last
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("lamb", "0.1.0", onebit::component<onebit::Lamb>("lamb"))
