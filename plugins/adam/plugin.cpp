// Optimizer `adam`: AdamW (Loshchilov and Hutter, arXiv 1711.05101) with bias correction, over the dense mean of the
// gradient. As torch.optim.AdamW.
#include "onebit/plugin.hpp"
#include "kernels.hpp"
#include "onebit/adam_options.hpp"

namespace onebit {
namespace {

class Adam final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema = AdamOptions::and_also({});
    return {schema.data(), schema.size()};
  }

  Adam(const Services&, const Options& options) : adam_(options) {}

  void declare(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    momentum_ = state.per_element("momentum");
    variance_ = state.per_element("variance");
    updates_ = state.per_model("updates");
  }

  void plan(const Step&, const Totals& totals, Plan& plan) override {
    scalars_ = adam_.scalars(counter(totals, updates_) + 1);
    plan.add_round(RoundKind::dense, Of::gradient);
  }

  void consume(const Step& step, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const Group& group = step.groups[block.group];
      const Rates rates = {static_cast<float>(group.learning_rate), static_cast<float>(group.weight_decay)};
      kernels::update(scalars_, rates, block.count, tile.mean + block.packed, floats(tile, block, momentum_),
                      floats(tile, block, variance_), block.parameter);
    }
  }

  void combine(const Step&, const Totals& totals) override { *doubles(totals, updates_) += 1; }

 private:
  const AdamOptions adam_;
  int momentum_ = -1, variance_ = -1, updates_ = -1;
  AdamScalars scalars_;  // of the step that was planned last
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("adam", "0.1.0", onebit::component<onebit::Adam>("adam"))
