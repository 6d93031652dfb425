// SPDX-License-Identifier: Apache-2.0
// Optimizer `onebit_lamb`: LAMB until the freeze step; then variance and trust ratios are frozen, and the momentum, or the
// update itself, travels as signs. Li et al., 1-bit LAMB, arXiv 2104.06069.
//
//   dense       as lamb; c_frz: the running average of c
//   freeze      v' at least floor * its mean in the tensor;  r = 1 / (sqrt(v') + eps),  0 where v' is 0;  v_fresh = v'
//   refresh     now and then r is renewed from a dense round (refresh_rule.hpp), and v_fresh takes its gradient
//   "update"    x = C(b1 x + (1-b1) clamp(r g));  u0 = x / (1-b1^t);  gr = (x - b1 x_before) / ((1-b1) r);  first x = r m
//   "momentum"  m = C((b1 m + (1-b1) g) s) / s;  u0 = r m / (1-b1^t);  gr = (m - b1 m_before) / (1-b1)         the paper's
//               s: what brings the root mean square of each tensor's m, at the freeze, to the mean of them all
//   both        v_fresh = b2 v_fresh + (1-b2) gr^2;  F from v_fresh (frozen_ratios.hpp)
//               p -= lr c_frz F (u0 + wd p) where r > 0;  c_frz F = 1 where exempt (always_adapt)
//
// The momentum needs no memory of its own in the compressed stage: the host keeps the last mean, one bit an element.
#include "onebit/plugin.hpp"
#include "kernels.hpp"
#include "onebit/adaptive/adam_options.hpp"

namespace onebit {
namespace {

using kernels::FrozenRatios;
using kernels::Stage;

class OneBitLamb final : public ProgramOptimizer<kernels::Pass> {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema = AdamOptions::and_also(
        {TrustRatios::maximum_option(), TrustRatios::minimum_option(), TrustRatios::always_option(),
         FrozenRatios::beta_option(), FrozenRatios::growth_option(), FrozenRatios::maximum_option(),
         FrozenRatios::minimum_option(), FrozenRatios::threshold_option(),
         FreezeRule::step_option(
             "freeze_step",
             "last dense step, after which variance and trust ratios are frozen and messages are compressed; "
             "\"auto\": as soon as both are stable"),
         FreezeRule::threshold_option(), FreezeRule::window_option(), RefreshRule::option(), BoundedMessages::message_option(),
         BoundedMessages::floor_option(), BoundedMessages::lamb_clamp_option(), BoundedMessages::reciprocal_option()});
    return {schema.data(), schema.size()};
  }

  OneBitLamb(const Services& services, const Options& options)
      : ProgramOptimizer(kernels::passes(BoundedMessages(options).of_updates, BoundedMessages(options).reciprocal)),
        reciprocal_(BoundedMessages(options).reciprocal),
        adam_(options),
        freeze_rule_(services, "onebit_lamb", "freeze_step", options, adam_.betas),
        refresh_rule_(options, adam_.betas, BoundedMessages(options).of_updates) {
    const BoundedMessages messages(options);
    pass.limit = messages.limit(1);
    pass.clamped_share.counts = messages.has_limit();
    pass.variance_floor = messages.variance_floor;
    pass.ratios = TrustRatios::checked(options);
    pass.frozen_ratios = FrozenRatios::checked(options);
  }

  void declare_state(Slice<const TensorInfo* const>, StateDeclarer& state) override {
    pass.momentum = state.per_element("momentum");  // after the freeze step, as messages have it; then gone
    pass.variance = state.per_element("variance");  // until the freeze
    pass.reciprocal = state.per_element_later("reciprocal", reciprocal_);
    pass.fresh = state.per_element("fresh_variance");
    pass.sums.declare(state);
    pass.clamped_share.declare(state);
    refresh_rule_.declare(state, pass.refresh);
    pass.ratios.declare(state);
    pass.frozen_ratios.declare(state);
    pass.freeze = freeze_rule_.declare(state, pass.sums, true);
    pass.momentum_squares = state.per_block("momentum_squares");
    pass.momentum_size = state.per_tensor("momentum_size");  // root mean square, at the freeze
    pass.coefficient = state.per_tensor("coefficient");
    pass.scaling = state.per_tensor("scaling");
    pass.frozen = state.per_model("frozen_at_step");
    pass.dense_updates = state.per_model("dense_updates");
    pass.compressed_updates = state.per_model("compressed_updates");
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    const int64_t compressed = counter(totals, pass.compressed_updates);
    const int64_t update = counter(totals, pass.dense_updates) + compressed + 1;
    pass.scalars = adam_.scalars(update);
    pass.ages = adam_.ages(update);
    pass.first = compressed == 0;
    const bool frozen = counter(totals, pass.frozen) > 0;
    pass.stage = frozen ? Stage::compressed : freeze_rule_.is_last(step, totals) ? Stage::freeze : Stage::dense;
    pass.sums_variance = pass.stage == Stage::freeze || (pass.stage == Stage::dense && freeze_rule_.automatic());
    plan.apply = true;
    pass.refresh.weight = 0;
    plan.freezes = pass.stage == Stage::freeze;
    if (plan.freezes) plan.acquire(pass.reciprocal), plan.release(pass.variance);
    if (!frozen) return plan.add_round(RoundKind::dense, Of::gradient);
    if (!pass.first)
      refresh_rule_.plan(totals, *doubles(totals, pass.dense_updates), static_cast<double>(update), pass.refresh);
    if (pass.refresh.is_due()) plan.add_round(RoundKind::dense, Of::gradient);
    plan.add_round(RoundKind::compressed, Of::message, true);
    plan.previous_in_consume = true;
    plan.mean_in_apply = true;
    if (pass.first) plan.release(pass.momentum);
  }

  void produce(const Step& step, int round, const Tile& tile) const override {
    if (!pass.first && tile.previous == nullptr)
      throw Error(Code::state_mismatch,
                  "the retained mean of the last compressed step is missing; "
                  "resume from a checkpoint that has it");
    ProgramOptimizer::produce(step, round, tile);
  }

 private:
  const ElementType reciprocal_;
  const AdamOptions adam_;
  FreezeRule freeze_rule_;
  const RefreshRule refresh_rule_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("onebit_lamb", "1.0.0", onebit::component<onebit::OneBitLamb>("onebit_lamb"))
