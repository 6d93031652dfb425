// SPDX-License-Identifier: Apache-2.0
// A sound optimizer, of one version or another, which ranks must not mix; as slow as one likes, for runs that are to be struck.
#include <chrono>
#include <thread>

#include "onebit/plugin.hpp"

namespace {

// parameter -= lr * mean of the gradients, in dense or in compressed rounds
class Descent final : public onebit::Optimizer {
 public:
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {onebit::real_option("lr", "0.1", 0, 1, "learning rate"),
                                           onebit::boolean_option("compressed", "false", "whether rounds are compressed"),
                                           onebit::real_option("pause", "0", 0, 60, "seconds of rest after each tile")};
    return {schema, std::size(schema)};
  }
  Descent(const onebit::Services&, const onebit::Options& options)
      : compressed_(options.boolean("compressed")), pause_(options.real("pause")) {}
  void declare(onebit::Slice<const onebit::TensorInfo* const>, onebit::StateDeclarer&) override {}
  void plan(const onebit::Step&, const onebit::Totals&, onebit::Plan& plan) override {
    plan.add_round(compressed_ ? onebit::RoundKind::compressed : onebit::RoundKind::dense, onebit::Of::message);
  }
  void produce(const onebit::Step&, int, const onebit::Tile& tile) const override {
    for (const onebit::Block& block : onebit::Slice<const onebit::Block>{tile.blocks, tile.block_count})
      for (int64_t i = 0; i < block.count; ++i) tile.message[block.packed + i] = block.gradient[i] * *tile.gradient_scale;
  }
  void consume(const onebit::Step& step, int, const onebit::Tile& tile) const override {
    for (const onebit::Block& block : onebit::Slice<const onebit::Block>{tile.blocks, tile.block_count})
      for (int64_t i = 0; i < block.count; ++i)
        block.parameter[i] -= static_cast<float>(step.groups[block.group].learning_rate) * tile.mean[block.packed + i];
    if (pause_.count() > 0) std::this_thread::sleep_for(pause_);  // not in combine, which is rehearsed before a run
  }

 private:
  const bool compressed_;
  const std::chrono::duration<double> pause_;
};

}  // namespace

ONEBIT_PLUGIN("descent", VERSION, onebit::component<Descent>("descent"))
