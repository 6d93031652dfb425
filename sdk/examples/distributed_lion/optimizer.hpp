// SPDX-License-Identifier: Apache-2.0
// Optimizer `distributed_lion`: Liu et al., "Communication efficient distributed training with Distributed Lion", arXiv
// 2404.00438, algorithm 1. Lion (Chen et al., arXiv 2302.06675) whose ranks agree on the sign of the update and on nothing
// else:
//
//   each rank    d_i  = sign(b1 m_i + (1 - b1) g_i)       the message
//   the ranks    D    = the compressor's mean of all d_i: the majority with `vote`, their average with a finer one
//   each rank    p   <- p - lr (D + weight_decay p)
//                m_i <- b2 m_i + (1 - b2) g_i
//
// The momentum m_i is never exchanged: it is rank-local state, and when the number of ranks changes it becomes the mean of what
// there was. Tensors that the user exempts from compression (optimizer.dense) are updated by Lion itself: what travels then is
// b1 m_i + (1 - b1) g_i in fp32, whose mean is that of the mean momentum and gradient, and the sign is taken afterwards.
#pragma once

#include <iterator>
#include <string>
#include <vector>

#include "onebit/plugin.hpp"

class DistributedLion final : public onebit::Optimizer {
 public:
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        onebit::real_option("lr", "3e-4", 0, 1e6, "learning rate; a third to a tenth of what Adam takes"),
        onebit::array_option("betas", "[0.9, 0.99]", 2, 0, 1, "decay in the update and of the momentum"),
        onebit::real_option("weight_decay", "0", 0, 1e6, "decoupled weight decay; three to ten times what Adam takes")};
    return {schema, std::size(schema)};
  }

  DistributedLion(const onebit::Services&, const onebit::Options& options) {
    const std::vector<double> betas = options.reals("betas");
    if (betas.size() != 2)
      throw onebit::Error(onebit::Code::invalid_argument,
                          "betas has " + std::to_string(betas.size()) + " values; expected two, such as [0.9, 0.99]");
    update_ = Blend(betas[0]);
    decay_ = Blend(betas[1]);
  }

  void declare(onebit::Slice<const onebit::TensorInfo* const>, onebit::StateDeclarer& state) override {
    momentum_ = state.per_element("momentum", onebit::Scope::rank_local, onebit::Reshard::mean);
  }
  void plan(const onebit::Step&, const onebit::Totals&, onebit::Plan& plan) override {
    plan.add_round(onebit::RoundKind::compressed, onebit::Of::message);
  }

  void produce(const onebit::Step&, int, const onebit::Tile& tile) const override {
    const float scale = *tile.gradient_scale;
    for (const onebit::Block& block : onebit::blocks(tile)) {
      const bool dense = is_dense(block);
      const float* momentum = onebit::floats(tile, block, momentum_);
      float* message = tile.message + block.packed;
      for (int64_t i = 0; i < block.count; ++i) {
        const float direction = update_(momentum[i], block.gradient[i] * scale);
        message[i] = dense ? direction : sign(direction);
      }
    }
  }

  void consume(const onebit::Step& step, int, const onebit::Tile& tile) const override {
    const float scale = *tile.gradient_scale;
    for (const onebit::Block& block : onebit::blocks(tile)) {
      const bool dense = is_dense(block);
      const auto lr = static_cast<float>(step.groups[block.group].learning_rate);
      const auto weight_decay = static_cast<float>(step.groups[block.group].weight_decay);
      const float* mean = tile.mean + block.packed;
      float* momentum = onebit::floats(tile, block, momentum_);
      for (int64_t i = 0; i < block.count; ++i) {
        const float direction = dense ? sign(mean[i]) : mean[i];
        block.parameter[i] -= lr * (direction + weight_decay * block.parameter[i]);
        momentum[i] = decay_(momentum[i], block.gradient[i] * scale);
      }
    }
  }

 private:
  // b x + (1 - b) y; 1 - b is formed in double, for in float 1 - 0.99f has lost three digits.
  struct Blend {
    explicit Blend(double b = 0) : keep(static_cast<float>(b)), take(static_cast<float>(1 - b)) {}
    float operator()(float x, float y) const { return keep * x + take * y; }
    float keep, take;
  };
  static float sign(float x) { return x > 0 ? 1.0F : x < 0 ? -1.0F : 0.0F; }
  static bool is_dense(const onebit::Block& block) { return (block.flags & ONEBIT_TENSOR_DENSE) != 0; }

  Blend update_, decay_;
  int momentum_ = 0;
};
