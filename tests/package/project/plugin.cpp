// SPDX-License-Identifier: Apache-2.0
// A plugin of one file: gradient descent.
#include <onebit/plugin.hpp>

namespace {

class Plain final : public onebit::Optimizer {
 public:
  static onebit::Slice<const onebit_schema> options() { return {}; }
  Plain(const onebit::Services&, const onebit::Options&) {}
  void declare(onebit::Slice<const onebit::TensorInfo* const>, onebit::StateDeclarer&) override {}
  void plan(const onebit::Step&, const onebit::Totals&, onebit::Plan& plan) override {
    plan.add_round(onebit::RoundKind::dense, onebit::Of::gradient);
  }
  void consume(const onebit::Step& step, int, const onebit::Tile& tile) const override {
    for (const onebit::Block& block : onebit::Slice<const onebit::Block>{tile.blocks, tile.block_count})
      for (int64_t i = 0; i < block.count; ++i)
        block.parameter[i] -= static_cast<float>(step.groups[block.group].learning_rate) * tile.mean[block.packed + i];
  }
};

}  // namespace

ONEBIT_PLUGIN("plain", "1.0.0", onebit::component<Plain>("plain"))
