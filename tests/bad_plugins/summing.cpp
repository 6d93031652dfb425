// SPDX-License-Identifier: Apache-2.0
// A sound optimizer whose state ends with its dense stage, but for exempt tensors:
//   exempt tensors, and all of them in the first dense_steps steps   sum += mean;  parameter -= lr (sum + weight_decay
//   parameter) the others, in compressed rounds                                 parameter -= lr (mean + weight_decay parameter)
#include <vector>

#include "onebit/plugin.hpp"

namespace {

class Summing final : public onebit::Optimizer {
 public:
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {onebit::real_option("lr", "0.125", 0, 1, "learning rate"),
                                           onebit::real_option("weight_decay", "0", 0, 1, "weight decay"),
                                           onebit::integer_option("dense_steps", "2", 0, 1000, "steps of the dense stage"),
                                           onebit::boolean_option("whole_tensors", "false", "tiles are whole tensors")};
    return {schema, std::size(schema)};
  }
  Summing(const onebit::Services&, const onebit::Options& options)
      : dense_steps_(options.integer("dense_steps")), whole_tensors_(options.boolean("whole_tensors")) {}

  void declare(onebit::Slice<const onebit::TensorInfo* const> tensors, onebit::StateDeclarer& state) override {
    for (const onebit::TensorInfo* tensor : tensors) exempt_.push_back((tensor->flags & ONEBIT_TENSOR_DENSE) != 0);
    sum_ = state.per_element("sum");
    if (whole_tensors_) state.whole_tensors();
  }
  void plan(const onebit::Step& step, const onebit::Totals&, onebit::Plan& plan) override {
    compressed_ = step.number > dense_steps_;
    plan.add_round(compressed_ ? onebit::RoundKind::compressed : onebit::RoundKind::dense, onebit::Of::message);
    if (step.number == dense_steps_) plan.release(sum_);
  }
  void produce(const onebit::Step&, int, const onebit::Tile& tile) const override {
    for (const onebit::Block& block : onebit::Slice<const onebit::Block>{tile.blocks, tile.block_count})
      for (int64_t i = 0; i < block.count; ++i) tile.message[block.packed + i] = block.gradient[i] * *tile.gradient_scale;
  }
  void consume(const onebit::Step& step, int, const onebit::Tile& tile) const override {
    for (const onebit::Block& block : onebit::Slice<const onebit::Block>{tile.blocks, tile.block_count}) {
      const onebit::Group& group = step.groups[block.group];
      const auto lr = static_cast<float>(group.learning_rate), decay = static_cast<float>(group.weight_decay);
      const bool sums = !compressed_ || exempt_[static_cast<size_t>(block.tensor)];
      float* const sum = sums ? static_cast<float*>(tile.slots[sum_]) + block.flat : nullptr;
      const float* const mean = tile.mean + block.packed;
      for (int64_t i = 0; i < block.count; ++i) {
        const float update = sums ? sum[i] += mean[i] : mean[i];
        block.parameter[i] -= lr * (update + decay * block.parameter[i]);
      }
    }
  }

 private:
  const int64_t dense_steps_;
  const bool whole_tensors_;
  std::vector<bool> exempt_;
  int sum_ = -1;
  bool compressed_ = false;
};

}  // namespace

ONEBIT_PLUGIN("summing", "1.0", onebit::component<Summing>("summing"))
