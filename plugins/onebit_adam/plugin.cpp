// Optimizer `onebit_adam`: Adam until the freeze step; then the variance is frozen, and the momentum, or the update itself,
// travels as signs. Tang et al., 1-bit Adam, arXiv 2102.02888.
//
//   dense       m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr (m' / (sqrt(v') + eps) + wd p)      ' = bias-corrected
//   freeze      r = 1 / (sqrt(max(v', floor * mean of v' in its tensor)) + eps),  0 where v = 0
//   "update"    x = C(b1 x + (1-b1) clamp(r g));  p -= lr (x / (1-b1^t) + wd p) where r > 0               first x = r m
//   "momentum"  m = C(b1 m + (1-b1) g);           p -= lr (r m / (1-b1^t) + wd p) where r > 0             the paper's
#include <limits>

#include "kernels.hpp"
#include "onebit/freeze_rule.hpp"
#include "onebit/plugin.hpp"
#include "onebit/variance_sums.hpp"

namespace onebit {
namespace {

class OneBitAdam final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        real_option("lr", "1e-3", 0, 1e6, "learning rate"),
        array_option("betas", "[0.9, 0.999]", 2, 0, 1, "decay of the momentum and of the variance; both below 1"),
        real_option("eps", "1e-8", 1e-30, 1, "added to the root of the variance"),
        real_option("weight_decay", "0", 0, 1e6, "decoupled weight decay"),
        boolean_option("bias_correction", "true", "divide momentum and variance by 1 - beta^t; false is the paper's"),
        FreezeRule::step_option("freeze_step",
                                "the last dense step, after which the variance is frozen and messages are 1 bit; "
                                "\"auto\": when the variance is stable"),
        FreezeRule::threshold_option(),
        FreezeRule::window_option(),
        text_option("message", "\"update\"", "update|momentum",
                    "what is compressed: the preconditioned update, whose steps are bounded, or the momentum, as in the paper"),
        real_option("variance_floor", "0.01", 0, 1, "at the freeze v is raised to this share of its tensor's mean; 0: none"),
        real_option("clamp", "10", 0, 1e30, "limit of the entries r * gradient of message = \"update\"; 0: none")};
    return {schema, std::size(schema)};
  }

  OneBitAdam(const Services& services, const Options& options)
      : betas_(AdamBetas::checked("onebit_adam", options.reals("betas"))),
        eps_(options.real("eps")),
        variance_floor_(options.real("variance_floor")),
        limit_(options.real("clamp") > 0 ? static_cast<float>(options.real("clamp")) : std::numeric_limits<float>::infinity()),
        freeze_rule_(services, "onebit_adam", "freeze_step", options, betas_),
        bias_correction_(options.boolean("bias_correction")),
        sends_update_(options.text("message") == "update") {}

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
    const int64_t compressed = count(totals, compressed_updates_);
    const int64_t update = count(totals, dense_updates_) + compressed + 1;
    scalars_ = AdamScalars(betas_, eps_, bias_correction_ ? update : 0);
    const bool frozen = count(totals, frozen_) > 0;
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
    if (stage_ == Stage::freeze) *doubles(totals.slots, frozen_) = static_cast<double>(step.number);
    *doubles(totals.slots, stage_ == Stage::compressed ? compressed_updates_ : dense_updates_) += 1;
  }

  void apply(const Step&, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      if (dense_.has(block.tensor)) continue;
      const double floor = variance_floor_ * sums_.mean(tile, block.tensor);
      kernels::freeze(scalars_, static_cast<float>(floor), block.count, floats(tile, variance_) + block.flat);
    }
  }

 private:
  enum class Stage { dense, freeze, compressed };

  bool sums_variance() const { return stage_ == Stage::freeze || (stage_ == Stage::dense && freeze_rule_.automatic()); }
  static Slice<const Block> blocks(const Tile& tile) { return {tile.blocks, tile.block_count}; }
  static double* doubles(void* const* slots, int slot) { return static_cast<double*>(slots[slot]); }
  static float* floats(const Tile& tile, int slot) { return static_cast<float*>(tile.slots[slot]); }
  static int64_t count(const Totals& totals, int slot) { return static_cast<int64_t>(*doubles(totals.slots, slot)); }

  void produce_block(const Tile& tile, const Block& block) const {
    if (dense_.has(block.tensor))
      return kernels::scale(*tile.gradient_scale, block.count, block.gradient, tile.message + block.packed);
    const bool first = tile.previous == nullptr;
    if (first && tile.slots[momentum_] == nullptr)
      throw Error(Code::state_mismatch,
                  "optimizer onebit_adam: the retained mean of the last compressed step is missing; "
                  "resume from a checkpoint that has it");
    const float* before = first ? floats(tile, momentum_) + block.flat : tile.previous + block.packed;
    float* const message = tile.message + block.packed;
    if (!sends_update_) {
      kernels::produce_momentum(scalars_, *tile.gradient_scale, block.count, before, block.gradient, message);
      return;
    }
    const auto produce = first ? kernels::produce_first_update : kernels::produce_update;
    produce(scalars_, *tile.gradient_scale, limit_, block.count, before, floats(tile, variance_) + block.flat, block.gradient,
            message);
  }

  void consume_dense(const Tile& tile, const Block& block, Rates rates) const {
    float* const variance = floats(tile, variance_) + block.flat;
    kernels::update_dense(scalars_, rates, block.count, tile.mean + block.packed, floats(tile, momentum_) + block.flat,
                          variance, block.parameter);
    if (sums_variance()) sums_.add(tile, block, kernels::sum_variance(variance, block.count));
  }

  void consume_compressed(const Tile& tile, const Block& block, Rates rates) const {
    const float* const mean = tile.mean + block.packed;
    const float* const reciprocal = floats(tile, variance_) + block.flat;
    if (!sends_update_)
      kernels::consume_momentum(scalars_, rates, block.count, mean, reciprocal, block.parameter);
    else if (sums_.has_dead(tile, block.tensor))
      kernels::consume_update(scalars_, rates, block.count, mean, reciprocal, block.parameter);
    else
      kernels::consume_update_alive(scalars_, rates, block.count, mean, block.parameter);
  }

  const AdamBetas betas_;
  const double eps_, variance_floor_;
  const float limit_;
  FreezeRule freeze_rule_;
  const bool bias_correction_, sends_update_;
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
