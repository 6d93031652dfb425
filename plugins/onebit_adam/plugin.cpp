// Optimizer `onebit_adam`: Adam until the freeze step; then the variance is frozen, and the momentum, or the update itself,
// travels as signs. Tang et al., 1-bit Adam, arXiv 2102.02888.
//
//   dense       m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr (m' / (sqrt(v') + eps) + wd p)      ' = bias-corrected
//   freeze      r = 1 / (sqrt(max(v', floor * mean of v' in its tensor)) + eps),  0 where v = 0
//   "update"    x = C(b1 x + (1-b1) clamp(r g));  p -= lr (x / (1-b1^t) + wd p) where r > 0               first x = r m
//   "momentum"  m = C(b1 m + (1-b1) g);           p -= lr (r m / (1-b1^t) + wd p) where r > 0             the paper's
#include "onebit/plugin.hpp"
#include "kernels.hpp"
#include "onebit/adam_options.hpp"
#include "onebit/freeze_rule.hpp"
#include "onebit/variance_sums.hpp"

namespace onebit {
namespace {

class OneBitAdam final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema = AdamOptions::and_also(
        {FreezeRule::step_option("freeze_step",
                                 "the last dense step, after which the variance is frozen and messages are 1 bit; "
                                 "\"auto\": when the variance is stable"),
         FreezeRule::threshold_option(), FreezeRule::window_option(), BoundedMessages::message_option(),
         BoundedMessages::floor_option(), BoundedMessages::clamp_option()});
    return {schema.data(), schema.size()};
  }

  OneBitAdam(const Services& services, const Options& options)
      : adam_(options),
        messages_(options),
        loops_(kernels::loops(messages_.of_updates)),
        freeze_rule_(services, "onebit_adam", "freeze_step", options, adam_.betas) {}

  void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) override {
    dense_ = DenseTensors(tensors);
    momentum_ = state.per_element("momentum");
    variance_ = state.per_element("variance");  // after the freeze: r
    sums_.declare(state);
    freeze_rule_.declare(state);
    frozen_ = state.per_model("frozen_at_step");
    dense_updates_ = state.per_model("dense_updates");
    compressed_updates_ = state.per_model("compressed_updates");
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    const int64_t compressed = counter(totals, compressed_updates_);
    scalars_ = adam_.scalars(counter(totals, dense_updates_) + compressed + 1);
    const bool frozen = counter(totals, frozen_) > 0;
    stage_ = frozen ? Stage::compressed : freeze_rule_.is_last(step, totals) ? Stage::freeze : Stage::dense;
    if (frozen) {
      plan.add_round(RoundKind::compressed, Of::message, true);
      if (compressed == 0) plan.release(momentum_);
    } else {
      plan.add_round(RoundKind::dense, Of::gradient);
      plan.apply = stage_ == Stage::freeze;
    }
  }

  void produce(const Step&, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) produce_block(tile, block);
  }

  void consume(const Step& step, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const Group& group = step.groups[block.group];
      const Rates rates = {static_cast<float>(group.learning_rate), static_cast<float>(group.weight_decay)};
      if (stage_ == Stage::compressed && !dense_.has(block.tensor))
        consume_compressed(tile, block, rates);
      else
        consume_dense(tile, block, rates);
    }
  }

  void combine(const Step& step, const Totals& totals) override {
    if (sums_variance()) {
      const double norm = sums_.combine(totals, dense_, scalars_.correct2);
      if (freeze_rule_.automatic()) freeze_rule_.observe(step, totals, norm);
    }
    if (stage_ == Stage::freeze) *doubles(totals, frozen_) = static_cast<double>(step.number);
    *doubles(totals, stage_ == Stage::compressed ? compressed_updates_ : dense_updates_) += 1;
  }

  void apply(const Step&, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      if (dense_.has(block.tensor)) continue;
      const double floor = messages_.variance_floor * sums_.mean(tile, block.tensor);
      loops_.freeze(scalars_, static_cast<float>(floor), block.count, floats(tile, block, variance_));
    }
  }

 private:
  enum class Stage { dense, freeze, compressed };

  bool sums_variance() const { return stage_ == Stage::freeze || (stage_ == Stage::dense && freeze_rule_.automatic()); }

  void produce_block(const Tile& tile, const Block& block) const {
    float* const message = tile.message + block.packed;
    if (dense_.has(block.tensor)) return loops_.scale(*tile.gradient_scale, block.count, block.gradient, message);
    const bool first = tile.previous == nullptr;
    if (first && tile.slots[momentum_] == nullptr)
      throw Error(Code::state_mismatch,
                  "the retained mean of the last compressed step is missing; "
                  "resume from a checkpoint that has it");
    const float* const before = first ? floats(tile, block, momentum_) : tile.previous + block.packed;
    (first ? loops_.produce_first : loops_.produce)(scalars_, *tile.gradient_scale, messages_.limit, block.count, before,
                                                    floats(tile, block, variance_), block.gradient, message);
  }

  void consume_dense(const Tile& tile, const Block& block, Rates rates) const {
    float* const variance = floats(tile, block, variance_);
    loops_.update_dense(scalars_, rates, block.count, tile.mean + block.packed, floats(tile, block, momentum_), variance,
                        block.parameter);
    if (sums_variance()) sums_.add(tile, block, loops_.sum_variance(variance, block.count));
  }

  void consume_compressed(const Tile& tile, const Block& block, Rates rates) const {
    const auto consume = sums_.has_dead(tile, block.tensor) ? loops_.consume : loops_.consume_alive;
    consume(scalars_, rates, block.count, tile.mean + block.packed, floats(tile, block, variance_), block.parameter);
  }

  const AdamOptions adam_;
  const BoundedMessages messages_;
  const kernels::Loops& loops_;
  FreezeRule freeze_rule_;
  VarianceSums sums_;
  DenseTensors dense_;
  int momentum_ = -1, variance_ = -1;
  int frozen_ = -1, dense_updates_ = -1, compressed_updates_ = -1;
  Stage stage_ = Stage::dense;  // of the step that was planned last, as are the scalars
  AdamScalars scalars_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("onebit_adam", "0.1.0", onebit::component<onebit::OneBitAdam>("onebit_adam"))
