// Optimizer `zeroone_adam`: 0/1 Adam. The variance is updated less and less often, and then frozen; momenta travel as signs;
// and after the freeze ranks take more and more steps between two syncs. Lu et al., arXiv 2202.06009, algorithm 1.
//
//   variance stage     Adam on the dense mean of the gradient where the variance interval divides the step;
//                      r = 1 / (sqrt(max(v', floor * mean of v' in its tensor)) + eps),  0 where v = 0;
//                      the interval doubles after var_update_scaler of these
//   between these      "gradient": m = b1 m + (1-b1) C(g);   "momentum": m = C(b1 m + (1-b1) g);   p -= lr (r m' + wd p)
//   after the freeze   locally: x = b1 x + (1-b1) r g;  u += lr x;  p -= lr (x + wd p)                (first x = r m')
//   sync               where the local interval divides the step, k steps after the last one:
//                      U = C(u / mean lr);  x = U / k;  u = 0;  p = anchor = (prod (1 - lr wd)) anchor - mean lr U;
//                      the interval doubles every local_step_scaler steps, up to local_step_clipper
//
// ' = bias-corrected. So it is with message = "update"; gradients are clamped there, and before the freeze C(r g) / r stands
// for C(g), and C(r ...) / r for C(...). With "momentum", the paper's, x = m without r, which then stands before U and x in p.
// Elements with r = 0 do not move. Tensors that are exempt from compression stay with Adam: between syncs, their gradients are
// added up, and the sync takes one step on their mean, at the sum of the learning rates.
#include <algorithm>

#include "kernels.hpp"
#include "local_steps.hpp"
#include "onebit/adam_options.hpp"
#include "onebit/freeze_rule.hpp"
#include "onebit/plugin.hpp"
#include "onebit/variance_sums.hpp"

namespace onebit {
namespace {

class ZeroOneAdam final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema = AdamOptions::and_also(
        {FreezeRule::step_option("var_freeze_step",
                                 "the last step of the variance stage, after which local steps may begin; "
                                 "\"auto\": when the variance is stable"),
         FreezeRule::threshold_option(), FreezeRule::window_option(),
         integer_option("var_update_scaler", "16", 1, 1e15,
                        "variance updates after which the steps from one to the next double; kappa in the paper"),
         integer_option("local_step_scaler", "32678", 1, 1e15,
                        "steps after the freeze after which the steps from one sync to the next double"),
         integer_option("local_step_clipper", "16", 1, 1e6, "the most steps from one sync to the next"),
         text_option("beta2_per", "\"step\"", "step|update",
                     "what the variance decays with: an update that comes k steps after the last one by beta2^k (\"step\"), or "
                     "by beta2, as in the paper"),
         text_option("variance_stage", "\"momentum\"", "gradient|momentum",
                     "what travels in compressed steps before the freeze: the gradient, as in the reference, or the momentum, "
                     "as in the paper"),
         BoundedMessages::message_option(), BoundedMessages::floor_option(), BoundedMessages::clamp_option()});
    return {schema.data(), schema.size()};
  }

  ZeroOneAdam(const Services& services, const Options& options)
      : adam_(options),
        messages_(options),
        loops_(kernels::loops(messages_.of_updates, options.text("variance_stage") == "momentum")),
        variance_updates_to_double_(options.integer("var_update_scaler")),
        local_steps_to_double_(options.integer("local_step_scaler")),
        longest_interval_(options.integer("local_step_clipper")),
        decays_per_step_(options.text("beta2_per") == "step"),
        freeze_rule_(services, "zeroone_adam", "var_freeze_step", options, adam_.betas) {}

  void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) override {
    dense_ = DenseTensors(tensors);
    momentum_ = state.per_element("momentum", Scope::rank_local, Reshard::mean);
    variance_ = state.per_element("variance");  // after the freeze: r
    u_ = state.per_element("local_update", Scope::rank_local, Reshard::mean);
    anchor_ = state.anchor("anchor");
    sums_.declare(state);
    freeze_rule_.declare(state);
    frozen_ = state.per_model("frozen_at_step");
    updates_ = state.per_model("updates");
    rounds_ = state.per_model("rounds");
    variance_updates_ = state.per_model("variance_updates");
    variance_age_ = state.per_model("updates_at_variance_update");  // how many steps the variance stands for
    frozen_steps_ = state.per_model("frozen_steps");
    local_steps_.declare(tensors, state);
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    stage_ = stage_of(step, totals);
    freezes_ = counter(totals, frozen_) == 0 && freeze_rule_.is_last(step, totals);
    scalars_ = scalars(totals);
    dense_scalars_ = adam_.scalars(counter(totals, rounds_) + 1);
    if (stage_ == Stage::sync) local_steps_.plan_sync(step, totals);
    if (stage_ == Stage::variance) plan.add_round(RoundKind::dense, Of::gradient);
    if (stage_ == Stage::early || stage_ == Stage::sync) plan.add_round(RoundKind::compressed, Of::message);
    plan.apply = freezes_;
    plan.reset_error = counter(totals, frozen_) > 0 && counter(totals, frozen_steps_) == 0;
  }

  void produce(const Step&, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) produce_block(tile, block, tile.message + block.packed);
  }

  void consume(const Step& step, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const Group& group = step.groups[block.group];
      const Rates rates = {static_cast<float>(group.learning_rate), static_cast<float>(group.weight_decay)};
      dense_.has(block.tensor) ? consume_dense(tile, block, rates) : consume_block(tile, block, rates);
    }
  }

  void combine(const Step& step, const Totals& totals) override {
    if (stage_ == Stage::variance) {
      *doubles(totals, variance_updates_) += 1;
      *doubles(totals, variance_age_) = *doubles(totals, updates_) + 1;
      const double norm = sums_.combine(totals, dense_, scalars_.correct2);
      if (freeze_rule_.automatic()) freeze_rule_.observe(step, totals, norm);
    }
    if (stage_ != Stage::local) *doubles(totals, rounds_) += 1;
    if (stage_ == Stage::local) local_steps_.add(step, totals);
    if (stage_ == Stage::sync) local_steps_.forget(totals);
    if (counter(totals, frozen_) > 0) *doubles(totals, frozen_steps_) += 1;
    if (freezes_) *doubles(totals, frozen_) = static_cast<double>(step.number);
    *doubles(totals, updates_) += 1;
  }

  void apply(const Step&, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      if (dense_.has(block.tensor))
        std::copy_n(block.parameter, block.count, floats(tile, block, anchor_));
      else
        loops_.freeze(scalars_, floor_of(tile, block), block.count, block.parameter, floats(tile, block, momentum_),
                      floats(tile, block, variance_), floats(tile, block, anchor_));
    }
  }

 private:
  enum class Stage { variance, early, local, sync };
  float floor_of(const Tile& tile, const Block& block) const {
    return static_cast<float>(messages_.variance_floor * sums_.mean(tile, block.tensor));
  }
  static int64_t doubled(int64_t times) { return int64_t{1} << std::min<int64_t>(times, 62); }

  Stage stage_of(const Step& step, const Totals& totals) const {
    if (counter(totals, frozen_) == 0) {
      const int64_t interval = doubled(counter(totals, variance_updates_) / variance_updates_to_double_);
      return step.number % interval == 0 ? Stage::variance : Stage::early;
    }
    const int64_t interval = std::min(longest_interval_, doubled(counter(totals, frozen_steps_) / local_steps_to_double_));
    return step.number % interval == 0 || (step.flags & ONEBIT_STEP_SYNC) != 0 ? Stage::sync : Stage::local;
  }

  AdamScalars scalars(const Totals& totals) const {
    const double update = *doubles(totals, updates_) + 1;
    const bool now = stage_ == Stage::variance;
    double steps = 1, age = *doubles(totals, variance_updates_) + (now ? 1 : 0);
    if (decays_per_step_) {
      steps = now ? update - *doubles(totals, variance_age_) : 1;
      age = now ? update : *doubles(totals, variance_age_);
    }
    const AdamBetas betas = {adam_.betas.first, std::pow(adam_.betas.second, steps)};
    return {betas, adam_.eps, adam_.bias_correction ? static_cast<int64_t>(update) : 0, age / steps};
  }

  void produce_block(const Tile& tile, const Block& block, float* message) const {
    const float *const momentum = floats(tile, block, momentum_), *const variance = floats(tile, block, variance_);
    const float* const u = floats(tile, block, u_);
    const float gradient_scale = *tile.gradient_scale;
    const kernels::Sync& sync = local_steps_.sync(block);
    if (dense_.has(block.tensor))
      loops_.produce_gradient(stage_ == Stage::sync ? sync.share : 1, gradient_scale, block.count, block.gradient, u, message);
    else if (stage_ == Stage::early)
      loops_.produce_early(scalars_, messages_.limit, floor_of(tile, block), gradient_scale, block.count, block.gradient,
                           momentum, variance, message);
    else
      loops_.produce_sync(scalars_, messages_.limit, sync, gradient_scale, block.count, block.gradient, momentum, variance, u,
                          message);
  }

  void consume_block(const Tile& tile, const Block& block, Rates rates) const {
    float *const momentum = floats(tile, block, momentum_), *const variance = floats(tile, block, variance_);
    float* const u = floats(tile, block, u_);
    const float* const mean = tile.mean == nullptr ? nullptr : tile.mean + block.packed;
    switch (stage_) {
      case Stage::variance:
        loops_.update_variance(scalars_, floor_of(tile, block), rates, block.count, mean, momentum, variance, block.parameter);
        return sums_.add(tile, block, loops_.sum_variance(variance, block.count));
      case Stage::early:
        return loops_.consume_early(scalars_, floor_of(tile, block), rates, block.count, mean, variance, momentum,
                                    block.parameter);
      case Stage::local:
        return loops_.step_locally(scalars_, messages_.limit, rates, *tile.gradient_scale, block.count, block.gradient,
                                   variance, momentum, u, block.parameter);
      case Stage::sync:
        return loops_.consume_sync(local_steps_.sync(block), block.count, mean, variance, momentum, u,
                                   floats(tile, block, anchor_), block.parameter);
    }
  }

  void consume_dense(const Tile& tile, const Block& block, Rates rates) const {
    float* const u = floats(tile, block, u_);
    if (stage_ == Stage::local) return loops_.add_gradient(*tile.gradient_scale, block.count, block.gradient, u);
    if (stage_ == Stage::sync) rates.learning_rate = local_steps_.sync(block).total;
    loops_.update_dense(dense_scalars_, rates, block.count, tile.mean + block.packed, floats(tile, block, momentum_),
                        floats(tile, block, variance_), block.parameter);
    if (stage_ != Stage::sync) return;
    std::fill_n(u, block.count, 0.0F);
    std::copy_n(block.parameter, block.count, floats(tile, block, anchor_));
  }

  const AdamOptions adam_;
  const BoundedMessages messages_;
  const kernels::Loops& loops_;
  const int64_t variance_updates_to_double_, local_steps_to_double_, longest_interval_;
  const bool decays_per_step_;
  FreezeRule freeze_rule_;
  LocalSteps local_steps_;
  VarianceSums sums_;
  DenseTensors dense_;
  int momentum_ = -1, variance_ = -1, u_ = -1, anchor_ = -1;
  int frozen_ = -1, updates_ = -1, rounds_ = -1, variance_updates_ = -1, variance_age_ = -1, frozen_steps_ = -1;
  // of the step that was planned last
  Stage stage_ = Stage::variance;
  bool freezes_ = false;
  AdamScalars scalars_, dense_scalars_;  // dense_scalars_: of tensors that are exempt, which are updated in rounds only
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("zeroone_adam", "0.1.0", onebit::component<onebit::ZeroOneAdam>("zeroone_adam"))
