// SPDX-License-Identifier: Apache-2.0
// Optimizer `onebit_adam`: Adam until the freeze step; then the variance is frozen, and the momentum, or the update itself,
// travels as signs. Tang et al., 1-bit Adam, arXiv 2102.02888.
//
//   dense       m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr (m' / (sqrt(v') + eps) + wd p)      ' = bias-corrected
//   freeze      r = 1 / (sqrt(max(v', floor * mean of v' in its tensor)) + eps);  0 where that maximum is 0
//   refresh     now and then r is renewed from a dense round (refresh_rule.hpp)
//   "update"    x = C(b1 x + (1-b1) clamp(r g));  p -= lr (bound(x / (1-b1^t)) + wd p) where r > 0        first x = r m
//   "momentum"  m = C(b1 m + (1-b1) g);           p -= lr (r m / (1-b1^t) + wd p) where r > 0             the paper's
// clamp: at as many times 1 / sqrt(1 - b2) as there are ranks, and bound: at 1 / sqrt(1 - b2) (BoundedMessages)

#include "onebit/plugin.hpp"
#include "kernels.hpp"
#include "onebit/adaptive/adam_options.hpp"

namespace onebit {
namespace {

using kernels::Stage;

class OneBitAdam final : public ProgramOptimizer<kernels::Pass> {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema = AdamOptions::and_also(
        {FreezeRule::step_option("freeze_step",
                                 "last dense step, after which the variance is frozen and messages are compressed; "
                                 "\"auto\": as soon as the variance is stable"),
         FreezeRule::threshold_option(), FreezeRule::window_option(), RefreshRule::option(), BoundedMessages::message_option(),
         BoundedMessages::floor_option(), BoundedMessages::clamp_option(), BoundedMessages::reciprocal_option()});
    return {schema.data(), schema.size()};
  }

  OneBitAdam(const Services& services, const Options& options)
      : ProgramOptimizer(kernels::passes(BoundedMessages(options).of_updates, BoundedMessages(options).reciprocal)),
        messages_(options),
        adam_(options),
        freeze_rule_(services, "onebit_adam", "freeze_step", options, adam_.betas),
        refresh_rule_(options, adam_.betas, messages_.of_updates) {
    pass.step_limit = messages_.step_limit();
    pass.clamped_share.counts = messages_.has_limit();
    pass.variance_floor = messages_.variance_floor;
  }

  void declare_state(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    pass.momentum = state.per_element("momentum");
    pass.variance = state.per_element("variance");  // until the freeze
    pass.reciprocal = state.per_element_later("reciprocal", messages_.reciprocal);
    pass.sums.declare(state);
    pass.clamped_share.declare(state);
    refresh_rule_.declare(state, pass.refresh);
    pass.freeze = freeze_rule_.declare(state, pass.sums);
    pass.frozen = state.per_model("frozen_at_step");
    pass.dense_updates = state.per_model("dense_updates");
    pass.compressed_updates = state.per_model("compressed_updates");
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    const int64_t compressed = counter(totals, pass.compressed_updates);
    const int64_t update = counter(totals, pass.dense_updates) + compressed + 1;
    pass.scalars = adam_.scalars(update);
    pass.ages = adam_.ages(update);
    pass.limit = messages_.limit(step.ranks);
    pass.first = compressed == 0;
    const bool frozen = counter(totals, pass.frozen) > 0;
    pass.stage = frozen ? Stage::compressed : freeze_rule_.is_last(step, totals) ? Stage::freeze : Stage::dense;
    pass.sums_variance = pass.stage == Stage::freeze || (pass.stage == Stage::dense && freeze_rule_.automatic());
    pass.refresh.weight = 0;
    if (frozen) {
      if (!pass.first)
        refresh_rule_.plan(totals, *doubles(totals, pass.dense_updates), static_cast<double>(update), pass.refresh);
      if (pass.refresh.is_due()) plan.add_round(RoundKind::dense, Of::gradient);
      plan.add_round(RoundKind::compressed, Of::message, true);
      if (pass.first) plan.release(pass.momentum);
    } else {
      plan.add_round(RoundKind::dense, Of::gradient);
      plan.apply = plan.freezes = pass.stage == Stage::freeze;
      if (plan.freezes) plan.acquire(pass.reciprocal), plan.release(pass.variance);
    }
  }

  void produce(const Step& step, int round, const Tile& tile) const override {
    if (!pass.first && tile.previous == nullptr)
      throw Error(Code::state_mismatch,
                  "the retained mean of the last compressed step is missing; "
                  "resume from a checkpoint that has it");
    ProgramOptimizer::produce(step, round, tile);
  }

 private:
  const BoundedMessages messages_;
  const AdamOptions adam_;
  FreezeRule freeze_rule_;
  const RefreshRule refresh_rule_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("onebit_adam", "1.0.0", onebit::component<onebit::OneBitAdam>("onebit_adam"))
