// SPDX-License-Identifier: Apache-2.0
// A momentum method that does all that an optimizer may do, in few lines, and can be told to do one thing wrong.
//
//   dense (5 steps)   m = 0.9 m + 0.1 g;            p -= lr (m + wd p)
//   compressed        m = C(0.9 m + 0.1 g);         p -= lr (m + wd p)       the mean is retained, and m released
#pragma once

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>

#include "onebit/optimizer.hpp"

namespace onebit::test {

enum class Wrong {
  nothing,
  name_twice,
  names_change,
  retains_twice,
  plan_counts_calls,
  plan_writes,
  produce_writes_state,
  produce_adds,
  consume_leaves_tile,
  apply_leaves_tile,
  combine_moves_parameter,
  gradient_written,
  random,
  tile_size_matters,
  tiles_share_member,
  scale_ignored,
  produce_remembers,
  steps_in_object,
  reads_released,
  late_start,
  local_gradient,
  exempt_depends_on_others,
  exempt_votes,
  one_element,
  tail_left_out,
  zero_divided,
  fourth_power,
  nan_leaks,
  moves_always,
  uphill,
  offset_in_message
};

class Momentum final : public Optimizer {
 public:
  explicit Momentum(Wrong wrong) : wrong_(wrong) {}

  void declare(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    static std::atomic<int> objects{0};
    momentum_ = state.per_element(is(Wrong::names_change) ? "momentum" + std::to_string(++objects) : "momentum");
    trail_ = state.per_element(is(Wrong::name_twice) ? "momentum" : "trail", Scope::rank_local);
    sums_ = state.per_block("sums");
    size_ = state.per_tensor("size");
    steps_ = state.per_model("steps");
    total_ = state.per_model("total");
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    done_ = is(Wrong::plan_counts_calls) ? ++planned_ / 2 : is(Wrong::steps_in_object) ? combined_ : counter(totals, steps_);
    if (is(Wrong::plan_writes)) doubles(totals, size_)[0] = static_cast<double>(step.number);
    leak_ = static_cast<float>(*doubles(totals, total_));
    plan.apply = true;
    if (is(Wrong::retains_twice)) plan.add_round(RoundKind::dense, Of::gradient, true);
    if (!compressed()) return plan.add_round(RoundKind::dense, Of::gradient, is(Wrong::retains_twice));
    plan.add_round(RoundKind::compressed, Of::message, true);
    if (done_ == dense_steps) plan.release(momentum_);
  }

  void produce(const Step&, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const float scale = is(Wrong::scale_ignored) ? 1 : *tile.gradient_scale;
      float* const message = tile.message + block.packed;
      const bool first = done_ == dense_steps;
      const float* const before = first ? floats(tile, block, momentum_) : tile.previous + block.packed;
      for (int64_t i = 0; i < block.count; ++i) {
        const float g = block.gradient[i] * scale;
        const float offset = is(Wrong::offset_in_message) && !first ? 1000.0F : 0.0F;
        const float m = 0.9F * (before[i] - offset) + 0.1F * g + (is(Wrong::offset_in_message) ? 1000.0F : 0.0F);
        const float exempt = is(Wrong::exempt_votes) ? std::copysign(0.1F, g) : g;
        message[i] = (is_dense(block) ? exempt : m) + (is(Wrong::produce_adds) ? message[i] : 0);
        if (is(Wrong::produce_writes_state)) floats(tile, block, trail_)[i] = g;
      }
      if (is(Wrong::produce_remembers)) remembered_ = remembered_ + block.gradient[0];
    }
  }

  void consume(const Step& step, int round, const Tile& tile) const override {
    if (is(Wrong::retains_twice) && round == 0) return;
    for (const Block& block : blocks(tile)) {
      update(step, tile, block);
      if (is(Wrong::consume_leaves_tile)) doubles(tile, sums_)[block.index + 1] = 0;
      if (is(Wrong::combine_moves_parameter)) last_ = block.parameter;
      if (is(Wrong::gradient_written)) const_cast<float*>(block.gradient)[0] = 0;
    }
  }

  void combine(const Step&, const Totals& totals) override {
    double total = 0;
    for (int64_t tensor = 0; tensor < totals.tensor_count; ++tensor) {
      double sum = 0;
      for (int64_t block = totals.first_block[tensor]; block < totals.first_block[tensor + 1]; ++block)
        sum += doubles(totals, sums_)[block];
      doubles(totals, size_)[tensor] = sum;
      total += sum;
    }
    *doubles(totals, total_) = total;
    *doubles(totals, steps_) += 1;
    ++combined_;
    if (is(Wrong::combine_moves_parameter) && last_ != nullptr) *last_ *= 0.99F;
  }

  void apply(const Step& step, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const Group& group = step.groups[block.group];
      const auto decay = static_cast<float>(group.learning_rate * group.weight_decay);
      for (int64_t i = 0; i < block.count; ++i) block.parameter[i] -= decay * block.parameter[i];
      if (is(Wrong::apply_leaves_tile)) doubles(tile, size_)[block.tensor] = 1;
    }
  }

 private:
  static constexpr int64_t dense_steps = 5;
  bool is(Wrong wrong) const { return wrong_ == wrong; }
  bool compressed() const { return done_ >= dense_steps; }
  static bool is_dense(const Block& block) { return (block.flags & ONEBIT_TENSOR_DENSE) != 0; }

  void update(const Step& step, const Tile& tile, const Block& block) const {
    float* const momentum = floats(tile, block, momentum_);
    const float* const mean = tile.mean + block.packed;
    const float rate = rate_of(step, tile, block);
    const bool live = !compressed() || is_dense(block);
    const int64_t count = is(Wrong::tail_left_out) ? block.count / 4 * 4 : block.count;
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      float m = is(Wrong::offset_in_message) && !live ? mean[i] - 1000 : mean[i];
      if (live) m = momentum[i] = 0.9F * momentum[i] + 0.1F * m;
      sum += static_cast<double>(m);
      block.parameter[i] -= rate * direction(m, tile, block, i) + (is(Wrong::moves_always) ? 1e-6F : 0);
    }
    doubles(tile, sums_)[block.index] = sum;
    if (is(Wrong::tiles_share_member) && step.number % 5 == 0) share(block);  // steps in which the suite has several threads
  }

  float rate_of(const Step& step, const Tile& tile, const Block& block) const {
    auto rate = static_cast<float>(step.groups[block.group].learning_rate);
    if (is(Wrong::uphill)) rate = -rate;
    if (is(Wrong::tile_size_matters)) rate *= 1 + 1e-3F * static_cast<float>(tile.block_count);
    if (is(Wrong::late_start)) rate /= static_cast<float>(1001 - step.number);
    if (is(Wrong::one_element) && block.count == 1 && block.first == 0) rate /= static_cast<float>(block.count - 1);
    if (is(Wrong::nan_leaks)) rate += 0 * leak_;
    if (is(Wrong::exempt_depends_on_others) && is_dense(block)) rate *= 1 + 1e-2F * leak_;
    return rate;
  }
  float direction(float m, const Tile& tile, const Block& block, int64_t i) const {
    static std::atomic<uint32_t> drawn{0};
    if (is(Wrong::random)) return m * (1 + 1e-3F * static_cast<float>(drawn++ % 11));
    if (is(Wrong::local_gradient)) return m + 0.1F * block.gradient[i] * *tile.gradient_scale;
    if (is(Wrong::reads_released)) return m + 1e-3F * floats(tile, block, momentum_)[i];
    if (is(Wrong::zero_divided)) return m / std::fabs(m) * 0.1F;
    if (is(Wrong::fourth_power)) return m * (m * m * m * m) / (m * m * m * m + 1e-30F);
    if (is(Wrong::produce_remembers)) return m + 1e-3F * remembered_;
    return m;
  }
  // One buffer for all tiles: another thread's is in it before it is read. Atomic, so that it is wrong and no race.
  void share(const Block& block) const {
    shared_ = block.index;
    std::this_thread::sleep_for(std::chrono::microseconds(100));  // yield() takes milliseconds on a busy machine
    if (shared_ != block.index) block.parameter[0] += 1;
  }

  const Wrong wrong_;
  int momentum_ = -1, trail_ = -1, sums_ = -1, size_ = -1, steps_ = -1, total_ = -1;
  int64_t done_ = 0, planned_ = 0, combined_ = 0;
  float leak_ = 0;
  mutable std::atomic<float> remembered_{0};
  mutable std::atomic<int64_t> shared_{0};
  mutable float* last_ = nullptr;
};

// Local steps, whose sum travels every fourth one: p = anchor + C(p - anchor).
class LocalSteps final : public Optimizer {
 public:
  enum class Wrong { nothing, deaf_to_sync, anchor_stays };
  explicit LocalSteps(Wrong wrong) : wrong_(wrong) {}

  void declare(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    anchor_ = state.anchor("anchor");
    steps_ = state.per_model("steps");
  }
  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    const int64_t done = counter(totals, steps_);
    const bool asked = (step.flags & ONEBIT_STEP_SYNC) != 0 && wrong_ != Wrong::deaf_to_sync;
    first_ = done == 0;
    if (first_) plan.add_round(RoundKind::dense, Of::gradient);
    if (!first_ && (done % 4 == 0 || asked)) plan.add_round(RoundKind::compressed, Of::message);
  }
  void produce(const Step& step, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile))
      for (int64_t i = 0; i < block.count; ++i)
        tile.message[block.packed + i] = moved(step, tile, block, i) - floats(tile, block, anchor_)[i];
  }
  void consume(const Step& step, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      float* const anchor = floats(tile, block, anchor_);
      for (int64_t i = 0; i < block.count; ++i) {
        if (tile.mean == nullptr) {
          block.parameter[i] = moved(step, tile, block, i);
          continue;
        }
        const float mean = tile.mean[block.packed + i];
        block.parameter[i] = first_ ? block.parameter[i] - rate(step, block) * mean : anchor[i] + mean;
        if (first_ || wrong_ != Wrong::anchor_stays) anchor[i] = block.parameter[i];
      }
    }
  }
  void combine(const Step&, const Totals& totals) override { *doubles(totals, steps_) += 1; }

 private:
  static float rate(const Step& step, const Block& block) { return static_cast<float>(step.groups[block.group].learning_rate); }
  static float moved(const Step& step, const Tile& tile, const Block& block, int64_t i) {
    return block.parameter[i] - rate(step, block) * (block.gradient[i] * *tile.gradient_scale);
  }
  const Wrong wrong_;
  int anchor_ = -1, steps_ = -1;
  bool first_ = false;
};

}  // namespace onebit::test
