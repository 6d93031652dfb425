// Optimizer `zeroone_adam`: 0/1 Adam. The variance is updated less and less often, and then frozen; momenta travel as signs;
// and after the freeze ranks take more and more steps between two syncs. Lu et al., arXiv 2202.06009, algorithm 1.
//
//   before the freeze, where step % variance interval = 0:   Adam on the dense mean of the gradient; the interval doubles after
//                      var_update_scaler of these. r = 1 / (sqrt(max(v', floor * mean of v' in its tensor)) + eps), 0 where v =
//                      0
//   otherwise          "gradient": m = b1 m + (1-b1) C(g);   "momentum": m = C(b1 m + (1-b1) g);   p -= lr (r m' + wd p)
//   after it, locally  x = b1 x + (1-b1) r g;  u += lr x;  p -= lr (x + wd p)                         (first x = r m')
//   where step % local interval = 0:   U = C(u / mean lr);  x = U / k;  p = anchor = (prod (1 - lr wd)) anchor - mean lr U;  u
//   = 0
//                      for k steps since the last sync. The interval doubles every local_step_scaler steps.
//
// ' = bias-corrected. So it is with message = "update"; gradients are clamped there, and before the freeze C(r g) / r stands
// for C(g), and C(r ...) / r for C(...). With "momentum", the paper's, x = m without r, which then stands before U and x in p.
// Elements with r = 0 do not move. Tensors that are exempt from compression stay with Adam: between syncs, their gradients are
// added up, and the sync takes one step on their mean, at the sum of the learning rates.
#include <algorithm>
#include <limits>

#include "kernels.hpp"
#include "onebit/freeze_rule.hpp"
#include "onebit/plugin.hpp"
#include "onebit/variance_sums.hpp"

namespace onebit {
namespace {

class ZeroOneAdam final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        real_option("lr", "1e-3", 0, 1e6, "learning rate"),
        array_option("betas", "[0.9, 0.999]", 2, 0, 1, "decay of the momentum and of the variance; both below 1"),
        real_option("eps", "1e-8", 1e-30, 1, "added to the root of the variance"),
        real_option("weight_decay", "0", 0, 1e6, "decoupled weight decay"),
        boolean_option("bias_correction", "true", "divide momentum and variance by 1 - beta^t; false is the paper's"),
        FreezeRule::step_option("var_freeze_step",
                                "the last step of the variance stage, after which local steps may begin; "
                                "\"auto\": when the variance is stable"),
        FreezeRule::threshold_option(),
        FreezeRule::window_option(),
        integer_option("var_update_scaler", "16", 1, 1e15,
                       "variance updates after which the steps from one to the next double; kappa in the paper"),
        integer_option("local_step_scaler", "32678", 1, 1e15,
                       "steps after the freeze after which the steps from one sync to the next double"),
        integer_option("local_step_clipper", "16", 1, 1e6, "the most steps from one sync to the next"),
        text_option(
            "beta2_per", "\"step\"", "step|update",
            "what the variance decays with: an update that comes k steps after the last one by beta2^k (\"step\"), or by "
            "beta2, as in the paper"),
        text_option(
            "variance_stage", "\"momentum\"", "gradient|momentum",
            "what travels in compressed steps before the freeze: the gradient, as in the reference, or the momentum, as "
            "in the paper"),
        text_option("message", "\"update\"", "update|momentum",
                    "what is compressed: preconditioned entries, whose steps are bounded, or plain ones, as in the paper"),
        real_option("variance_floor", "0.01", 0, 1, "the variance is raised to this share of its tensor's mean; 0: none"),
        real_option("clamp", "10", 0, 1e30, "limit of the entries r * gradient of message = \"update\"; 0: none")};
    return {schema, std::size(schema)};
  }

  ZeroOneAdam(const Services& services, const Options& options)
      : betas_(AdamBetas::checked("zeroone_adam", options.reals("betas"))),
        eps_(options.real("eps")),
        variance_floor_(options.real("variance_floor")),
        form_{options.text("message") == "update", options.text("variance_stage") == "momentum",
              options.real("clamp") > 0 ? static_cast<float>(options.real("clamp")) : std::numeric_limits<float>::infinity()},
        variance_updates_to_double_(options.integer("var_update_scaler")),
        local_steps_to_double_(options.integer("local_step_scaler")),
        longest_interval_(options.integer("local_step_clipper")),
        bias_correction_(options.boolean("bias_correction")),
        decays_per_step_(options.text("beta2_per") == "step"),
        freeze_rule_(services, "zeroone_adam", "var_freeze_step", options, betas_) {}

  void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) override {
    dense_ = DenseTensors(tensors);
    for (const TensorInfo* tensor : tensors) groups_ = std::max(groups_, static_cast<int>(tensor->group) + 1);
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
    local_steps_ = state.per_model("local_steps_since_sync");
    rates_ = state.per_model("learning_rate_since_sync", groups_);  // of each group, summed
    decayed_ = state.per_model("decayed_since_sync", groups_);      // 1 - prod (1 - lr wd)
    syncs_.resize(static_cast<size_t>(groups_));
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    stage_ = stage_of(step, totals);
    freezes_ = count(totals, frozen_) == 0 && freeze_rule_.is_last(step, totals);
    scalars_ = scalars(totals);
    dense_scalars_ = AdamScalars(betas_, eps_, bias_correction_ ? count(totals, rounds_) + 1 : 0);
    if (stage_ == Stage::sync) plan_sync(step, totals);
    if (stage_ == Stage::variance) plan.add_round(RoundKind::dense, Of::gradient);
    if (stage_ == Stage::early || stage_ == Stage::sync) plan.add_round(RoundKind::compressed, Of::message);
    plan.apply = freezes_;
    plan.reset_error = count(totals, frozen_) > 0 && count(totals, frozen_steps_) == 0;
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
      add(totals, variance_updates_);
      at(totals, variance_age_) = at(totals, updates_) + 1;
      const double norm = sums_.combine(totals, dense_, scalars_.correct2);
      if (freeze_rule_.automatic()) freeze_rule_.observe(step, totals, norm);
    }
    if (stage_ != Stage::local) add(totals, rounds_);
    if (count(totals, frozen_) > 0) combine_frozen(step, totals);
    if (freezes_) at(totals, frozen_) = static_cast<double>(step.number);
    add(totals, updates_);
  }

  void apply(const Step&, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      if (dense_.has(block.tensor))
        std::copy_n(block.parameter, block.count, floats(tile, anchor_) + block.flat);
      else
        kernels::freeze(scalars_, form_, floor_of(tile, block), block.count, block.parameter,
                        floats(tile, momentum_) + block.flat, floats(tile, variance_) + block.flat,
                        floats(tile, anchor_) + block.flat);
    }
  }

 private:
  enum class Stage { variance, early, local, sync };
  // Of a group: what a sync makes of the steps since the last one.
  struct Sync {
    float weight, own;  // of u, and of this step's direction, in the message
    float rate, total;  // mean and sum of the learning rates
    float keep;         // what weight decay leaves
  };

  static Slice<const Block> blocks(const Tile& tile) { return {tile.blocks, tile.block_count}; }
  static float* floats(const Tile& tile, int slot) { return static_cast<float*>(tile.slots[slot]); }
  static double& at(const Totals& totals, int slot, size_t index = 0) {
    return static_cast<double*>(totals.slots[slot])[index];
  }
  static int64_t count(const Totals& totals, int slot) { return static_cast<int64_t>(at(totals, slot)); }
  static void add(const Totals& totals, int slot) { at(totals, slot) += 1; }
  float floor_of(const Tile& tile, const Block& block) const {
    return static_cast<float>(variance_floor_ * sums_.mean(tile, block.tensor));
  }
  static int64_t doubled(int64_t times) { return int64_t{1} << std::min<int64_t>(times, 62); }

  Stage stage_of(const Step& step, const Totals& totals) const {
    if (count(totals, frozen_) == 0) {
      const int64_t interval = doubled(count(totals, variance_updates_) / variance_updates_to_double_);
      return step.number % interval == 0 ? Stage::variance : Stage::early;
    }
    const int64_t interval = std::min(longest_interval_, doubled(count(totals, frozen_steps_) / local_steps_to_double_));
    return step.number % interval == 0 || (step.flags & ONEBIT_STEP_SYNC) != 0 ? Stage::sync : Stage::local;
  }

  AdamScalars scalars(const Totals& totals) const {
    const double update = at(totals, updates_) + 1;
    const bool now = stage_ == Stage::variance;
    double steps = 1, age = at(totals, variance_updates_) + (now ? 1 : 0);
    if (decays_per_step_) {
      steps = now ? update - at(totals, variance_age_) : 1;
      age = now ? update : at(totals, variance_age_);
    }
    const AdamBetas betas = {betas_.first, std::pow(betas_.second, steps)};
    return {betas, eps_, bias_correction_ ? static_cast<int64_t>(update) : 0, age / steps};
  }

  // Where all learning rates were 0 there is nothing to weigh by, and nothing moves: the momentum alone is brought together.
  void plan_sync(const Step& step, const Totals& totals) {
    const double steps = at(totals, local_steps_) + 1;
    share_ = static_cast<float>(1 / steps);
    for (size_t g = 0; g < syncs_.size() && g < step.group_count; ++g) {
      const Group& group = step.groups[g];
      const double total = at(totals, rates_, g) + group.learning_rate, rate = total / steps;
      const double keep = (1 - at(totals, decayed_, g)) * (1 - group.learning_rate * group.weight_decay);
      syncs_[g] = {static_cast<float>(rate > 0 ? 1 / rate : 0),
                   static_cast<float>(rate > 0 ? group.learning_rate / rate : steps), static_cast<float>(rate),
                   static_cast<float>(total), static_cast<float>(keep)};
    }
  }

  void combine_frozen(const Step& step, const Totals& totals) const {
    add(totals, frozen_steps_);
    const bool local = stage_ == Stage::local;
    at(totals, local_steps_) = local ? at(totals, local_steps_) + 1 : 0;
    for (size_t g = 0; g < syncs_.size() && g < step.group_count; ++g) {
      const Group& group = step.groups[g];
      double &rate = at(totals, rates_, g), &decayed = at(totals, decayed_, g);
      rate = local ? rate + group.learning_rate : 0;
      decayed = local ? decayed + (1 - decayed) * group.learning_rate * group.weight_decay : 0;
    }
  }

  void produce_block(const Tile& tile, const Block& block, float* message) const {
    const float *const momentum = floats(tile, momentum_) + block.flat, *const variance = floats(tile, variance_) + block.flat;
    const float* const u = floats(tile, u_) + block.flat;
    const Sync& sync = syncs_[static_cast<size_t>(block.group)];
    if (dense_.has(block.tensor))
      kernels::produce_gradient(stage_ == Stage::sync ? share_ : 1, *tile.gradient_scale, block.count, block.gradient, u,
                                message);
    else if (stage_ == Stage::early)
      kernels::produce_early(scalars_, form_, floor_of(tile, block), *tile.gradient_scale, block.count, block.gradient,
                             momentum, variance, message);
    else
      kernels::produce_sync(scalars_, form_, sync.weight, sync.own, *tile.gradient_scale, block.count, block.gradient, momentum,
                            variance, u, message);
  }

  void consume_block(const Tile& tile, const Block& block, Rates rates) const {
    float *const momentum = floats(tile, momentum_) + block.flat, *const variance = floats(tile, variance_) + block.flat;
    float* const u = floats(tile, u_) + block.flat;
    const Sync& sync = syncs_[static_cast<size_t>(block.group)];
    switch (stage_) {
      case Stage::variance:
        kernels::update_variance(scalars_, floor_of(tile, block), rates, block.count, tile.mean + block.packed, momentum,
                                 variance, block.parameter);
        return sums_.add(tile, block, kernels::sum_variance(variance, block.count));
      case Stage::early:
        return kernels::consume_early(scalars_, form_, floor_of(tile, block), rates, block.count, tile.mean + block.packed,
                                      variance, momentum, block.parameter);
      case Stage::local:
        return kernels::step_locally(scalars_, form_, rates, *tile.gradient_scale, block.count, block.gradient, variance,
                                     momentum, u, block.parameter);
      case Stage::sync:
        return kernels::consume_sync(form_, sync.rate, share_, sync.keep, block.count, tile.mean + block.packed, variance,
                                     momentum, u, floats(tile, anchor_) + block.flat, block.parameter);
    }
  }

  void consume_dense(const Tile& tile, const Block& block, Rates rates) const {
    float* const u = floats(tile, u_) + block.flat;
    if (stage_ == Stage::local) return kernels::add_gradient(*tile.gradient_scale, block.count, block.gradient, u);
    if (stage_ == Stage::sync) rates.learning_rate = syncs_[static_cast<size_t>(block.group)].total;
    kernels::update_dense(dense_scalars_, rates, block.count, tile.mean + block.packed, floats(tile, momentum_) + block.flat,
                          floats(tile, variance_) + block.flat, block.parameter);
    if (stage_ != Stage::sync) return;
    std::fill_n(u, block.count, 0.0F);
    std::copy_n(block.parameter, block.count, floats(tile, anchor_) + block.flat);
  }

  const AdamBetas betas_;
  const double eps_, variance_floor_;
  const kernels::Form form_;
  const int64_t variance_updates_to_double_, local_steps_to_double_, longest_interval_;
  const bool bias_correction_, decays_per_step_;
  FreezeRule freeze_rule_;
  VarianceSums sums_;
  DenseTensors dense_;
  int groups_ = 1;
  int momentum_ = -1, variance_ = -1, u_ = -1, anchor_ = -1;
  int frozen_ = -1, updates_ = -1, rounds_ = -1, variance_updates_ = -1, variance_age_ = -1;
  int frozen_steps_ = -1;
  int local_steps_ = -1, rates_ = -1, decayed_ = -1;
  // of the step that was planned last
  Stage stage_ = Stage::variance;
  bool freezes_ = false;
  AdamScalars scalars_, dense_scalars_;  // dense_scalars_: of tensors that are exempt, which are updated in rounds only
  std::vector<Sync> syncs_;              // by group
  float share_ = 1;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("zeroone_adam", "0.1.0", onebit::component<onebit::ZeroOneAdam>("zeroone_adam"))
