// Optimizer `my_plugin`: gradient descent with momentum, over the mean of the gradients of all ranks.
#include <onebit/plugin.hpp>

#include <iterator>

namespace {

class MyPlugin final : public onebit::Optimizer {
 public:
  // What [optimizer] may say; the host checks it. lr and weight_decay reach consume through step.groups, with schedules
  // applied.
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        onebit::real_option("lr", "0.05", 0, 1e3, "learning rate"),
        onebit::real_option("weight_decay", "0", 0, 1e3, "weight decay, added to the gradient"),
        onebit::real_option("momentum", "0.9", 0, 0.9999, "share of the momentum that is kept from step to step")};
    return {schema, std::size(schema)};
  }
  MyPlugin(const onebit::Services&, const onebit::Options& options) : kept_(static_cast<float>(options.real("momentum"))) {}

  // State is declared here, and kept, saved and freed by the host.
  void declare(onebit::Slice<const onebit::TensorInfo* const>, onebit::StateDeclarer& state) override {
    momentum_ = state.per_element("momentum");
  }
  // What ranks agree upon in a step: here, in every step, the mean of their gradients as they are.
  void plan(const onebit::Step&, const onebit::Totals&, onebit::Plan& plan) override {
    plan.add_round(onebit::RoundKind::dense, onebit::Of::gradient);
  }
  // What a step does with that mean. May run on several threads at once, on different blocks.
  void consume(const onebit::Step& step, int, const onebit::Tile& tile) const override {
    for (const onebit::Block& block : onebit::blocks(tile)) {
      // ---- The lines to change: your update, from the mean gradient, for the elements of a block.
      const float* const mean = tile.mean + block.packed;
      float* const momentum = onebit::floats(tile, block, momentum_);
      float* const parameter = block.parameter;
      const auto lr = static_cast<float>(step.groups[block.group].learning_rate);
      const auto decay = static_cast<float>(step.groups[block.group].weight_decay);
      for (int64_t i = 0; i < block.count; ++i) {
        momentum[i] = kept_ * momentum[i] + mean[i] + decay * parameter[i];
        parameter[i] -= lr * momentum[i];
      }
      // ---- To here.
    }
  }

 private:
  const float kept_;
  int momentum_ = -1;
};

}  // namespace

ONEBIT_PLUGIN("my_plugin", "0.1.0", onebit::component<MyPlugin>("my_plugin"))
