// SPDX-License-Identifier: Apache-2.0
// Optimizer `zeroone_adam`: 0/1 Adam. The variance is updated less and less often, and then frozen; momenta travel as signs;
// and after the freeze ranks take more and more steps between two syncs. Lu et al., arXiv 2202.06009, algorithm 1.
//
//   variance stage     Adam on the dense mean of the gradient where the variance interval divides the step;
//                      r = 1 / (sqrt(max(v', floor * mean of v' in its tensor)) + eps),  0 where that maximum is 0; no floor
//                      before the first message;
//                      the interval doubles after var_update_scaler of these; it is 1 while more than a tenth of all elements
//                      have had no gradient, in the first 0.3 / (1 - b2) steps (beta2_per = "step")
//   between these      "gradient": m = b1 m + (1-b1) C(g);   "momentum": m = C(b1 m + (1-b1) g);   p -= lr (r m' + wd p)
//   after the freeze   locally: x = b1 x + (1-b1) r g;  u += lr x;  p -= lr (x + wd p)                (first x = r m')
//   refresh            now and then r is renewed from a dense round beside a sync (refresh_rule.hpp)
//   sync               where the local interval divides the step, k steps after the last one:
//                      U = C(u / mean lr);  x = U / k;  u = 0;  p = anchor = (prod (1 - lr wd)) anchor - mean lr U;
//                      the interval doubles every local_step_scaler steps, up to local_step_clipper
//
// ' = bias-corrected. So it is with message = "update"; gradients and steps are bounded there as in onebit_adam, and
// before the freeze C(r g) / r stands for C(g), and C(r ...) / r for C(...). With "momentum", the paper's, x = m without r,
// which then stands before U and x in p. Elements with r = 0 do not move. Tensors that are exempt from compression stay with
// Adam: between syncs, their gradients are added up, and the sync takes one step on their mean, at the sum of the learning
// rates.
#include <algorithm>
#include <cmath>
#include <string>

#include "kernels.hpp"
#include "onebit/adaptive/adam_options.hpp"
#include "onebit/plugin.hpp"

namespace onebit {
namespace {

using kernels::Stage;

class ZeroOneAdam final : public ProgramOptimizer<kernels::Pass> {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema = AdamOptions::and_also(
        {FreezeRule::step_option("var_freeze_step",
                                 "last step in which the variance may change, after which local steps may begin; "
                                 "\"auto\": as soon as the variance is stable"),
         FreezeRule::threshold_option(), FreezeRule::window_option(),
         integer_option("var_update_scaler", "16", 1, 1e15,
                        "number of variance updates after which the interval between them doubles; kappa in the paper; "
                        "those made in each step because many elements have had no gradient do not count"),
         integer_option("local_step_scaler", "32678", 1, 1e15,
                        "number of steps after which the interval between syncs doubles, counted from the freeze"),
         integer_option("local_step_clipper", "16", 1, 1e6, "longest interval between syncs, in steps"),
         text_option("beta2_per", "\"step\"", "step|update",
                     "decay of the variance in a variance update that comes k steps after the last one. step: by beta2^k; "
                     "update: by beta2, as in the paper"),
         text_option("variance_stage", "\"momentum\"", "gradient|momentum",
                     "what is sent in compressed steps before the freeze. gradient: as in the reference implementation; "
                     "momentum: as in the paper"),
         RefreshRule::option(), BoundedMessages::message_option(), BoundedMessages::floor_option(),
         BoundedMessages::clamp_option(), BoundedMessages::reciprocal_option()});
    return {schema.data(), schema.size()};
  }

  ZeroOneAdam(const Services& services, const Options& options)
      : ProgramOptimizer(kernels::passes(BoundedMessages(options).of_updates, options.text("variance_stage") == "momentum",
                                         BoundedMessages(options).reciprocal)),
        adam_(options),
        messages_(options),
        variance_updates_to_double_(options.integer("var_update_scaler")),
        local_steps_to_double_(options.integer("local_step_scaler")),
        longest_interval_(options.integer("local_step_clipper")),
        decays_per_step_(options.text("beta2_per") == "step"),
        services_(services),
        freeze_rule_(services, "zeroone_adam", "var_freeze_step", options, adam_.betas),
        refresh_rule_(options, adam_.betas, messages_.of_updates) {
    pass.clamped_share.counts = messages_.has_limit();
    pass.variance_floor = messages_.variance_floor;
  }

  void declare_state(Slice<const TensorInfo* const> tensors, StateDeclarer& state) override {
    pass.momentum = state.per_element("momentum", Scope::rank_local, Reshard::mean);
    pass.variance = state.per_element("variance");  // until the freeze
    pass.reciprocal = state.per_element_later("reciprocal", messages_.reciprocal);
    pass.u = state.per_element("local_update", Scope::rank_local, Reshard::mean);
    pass.anchor = state.anchor("anchor");
    pass.sums.declare(state);
    pass.clamped_share.declare(state);
    refresh_rule_.declare(state, pass.refresh);
    pass.freeze = freeze_rule_.declare(state, pass.sums);
    pass.frozen = state.per_model("frozen_at_step");
    pass.updates = state.per_model("updates");
    pass.rounds = state.per_model("rounds");
    pass.variance_updates = state.per_model("variance_updates");
    pass.held_updates = state.per_model("held_variance_updates");
    pass.variance_age = state.per_model("updates_at_variance_update");
    pass.frozen_steps = state.per_model("frozen_steps");
    pass.missed_variance = state.per_tensor("missed_variance_steps");
    pass.local_steps.declare(tensors, state);
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    const bool frozen = counter(totals, pass.frozen) > 0;
    pass.exact = counter(totals, pass.updates) == counter(totals, pass.variance_updates);
    pass.holds = !frozen && holds(totals);
    if (pass.holds && !told_ && step.rank == 0)
      services_.log(LogLevel::info, "zeroone_adam",
                    "the variance is updated in each step, by a dense round, while more than 10 % of all elements have had no "
                    "gradient, until step " +
                        std::to_string(freeze_rule_.patience()) + " at the latest");
    told_ = told_ || pass.holds;
    pass.stage = stage_of(step, totals);
    pass.freezes = !frozen && freeze_rule_.is_last(step, totals);
    pass.scalars = scalars(totals);
    const float youth = frozen ? 1.0F : messages_.youth(counter(totals, pass.updates) + 1);
    pass.limit = messages_.limit(frozen ? step.ranks : 1) * youth;  // what one rank alone has is not in a young variance yet
    pass.step_limit = messages_.step_limit() * youth;
    pass.dense = adam_.scalars(counter(totals, pass.rounds) + 1);
    pass.dense_ages = adam_.ages(counter(totals, pass.rounds) + 1);
    if (pass.stage == Stage::variance) plan.add_round(RoundKind::dense, Of::gradient);
    pass.refresh.weight = 0;
    if (pass.stage == Stage::sync && counter(totals, pass.frozen_steps) > 0)
      refresh_rule_.plan(totals, *doubles(totals, pass.variance_age), *doubles(totals, pass.updates) + 1, pass.refresh);
    if (pass.refresh.is_due()) plan.add_round(RoundKind::dense, Of::gradient);
    if (pass.stage == Stage::early || pass.stage == Stage::sync) plan.add_round(RoundKind::compressed, Of::message);
    plan.apply = plan.freezes = pass.freezes;
    if (plan.freezes) plan.acquire(pass.reciprocal), plan.release(pass.variance);
    plan.reset_error = frozen && counter(totals, pass.frozen_steps) == 0;
  }

 private:
  static int64_t doubled(int64_t times) { return int64_t{1} << std::min<int64_t>(times, 62); }

  // Whether the variance is updated in each step, which does not count for the interval: it has too little of rare features
  // yet.
  bool holds(const Totals& totals) const {
    return decays_per_step_ && counter(totals, pass.updates) < freeze_rule_.patience() &&
           *doubles(totals, pass.sums.unseen_share) > VarianceSums::many_unseen;
  }

  Stage stage_of(const Step& step, const Totals& totals) const {
    if (counter(totals, pass.frozen) == 0) {
      const int64_t counted = counter(totals, pass.variance_updates) - counter(totals, pass.held_updates);
      const int64_t interval = pass.holds ? 1 : doubled(counted / variance_updates_to_double_);
      return step.number % interval == 0 ? Stage::variance : Stage::early;
    }
    const int64_t interval = std::min(longest_interval_, doubled(counter(totals, pass.frozen_steps) / local_steps_to_double_));
    return step.number % interval == 0 || (step.flags & ONEBIT_STEP_SYNC) != 0 ? Stage::sync : Stage::local;
  }

  AdamScalars scalars(const Totals& totals) {
    const double update = *doubles(totals, pass.updates) + 1;
    const bool now = pass.stage == Stage::variance;
    double steps = 1, age = *doubles(totals, pass.variance_updates) + (now ? 1 : 0);
    if (decays_per_step_) {
      steps = now ? update - *doubles(totals, pass.variance_age) : 1;
      age = now ? update : *doubles(totals, pass.variance_age);
    }
    pass.variance_steps = static_cast<int64_t>(steps);
    pass.ages = adam_.ages(static_cast<int64_t>(update), static_cast<int64_t>(age));
    const AdamBetas betas = {adam_.betas.first, std::pow(adam_.betas.second, steps)};
    return {betas, adam_.eps, adam_.bias_correction ? static_cast<int64_t>(update) : 0, age / steps};
  }

  const AdamOptions adam_;
  const BoundedMessages messages_;
  const int64_t variance_updates_to_double_, local_steps_to_double_, longest_interval_;
  const bool decays_per_step_;
  const Services services_;
  FreezeRule freeze_rule_;
  const RefreshRule refresh_rule_;
  bool told_ = false;  // that it holds the interval
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("zeroone_adam", "1.0.0", onebit::component<onebit::ZeroOneAdam>("zeroone_adam"))
