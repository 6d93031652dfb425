// Optimizer `onebit_lamb`: LAMB until the freeze step; then variance and trust ratios are frozen, and the momentum, or the
// update itself, travels as signs. Li et al., 1-bit LAMB, arXiv 2104.06069.
//
//   dense       as lamb; c_frz: the running average of c
//   freeze      v' at least floor * its mean in the tensor;  r = 1 / (sqrt(v') + eps),  0 where v = 0;  v_fresh = v'
//   "update"    x = C(b1 x + (1-b1) clamp(r g));  u0 = x / (1-b1^t);  gr = (x - b1 x_before) / ((1-b1) r);  first x = r m
//   "momentum"  m = C((b1 m + (1-b1) g) s) / s;  u0 = r m / (1-b1^t);  gr = (m - b1 m_before) / (1-b1)         the paper's
//               s: what brings the root mean square of each tensor's m, at the freeze, to the mean of them all
//   both        v_fresh = b2 v_fresh + (1-b2) gr^2;  F from v_fresh (frozen_ratios.hpp)
//               p -= lr c_frz F (u0 + wd p) where r > 0
//
// The momentum needs no memory of its own in the compressed stage: the host keeps the last mean, one bit an element.
#include "onebit/plugin.hpp"
#include "frozen_ratios.hpp"
#include "kernels.hpp"
#include "onebit/adam_options.hpp"
#include "onebit/freeze_rule.hpp"
#include "onebit/variance_sums.hpp"

namespace onebit {
namespace {

class OneBitLamb final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const std::vector<onebit_schema> schema = AdamOptions::and_also(
        {TrustRatios::maximum_option(), TrustRatios::minimum_option(), FrozenRatios::beta_option(),
         FrozenRatios::growth_option(), FrozenRatios::maximum_option(), FrozenRatios::minimum_option(),
         FrozenRatios::threshold_option(),
         FreezeRule::step_option(
             "freeze_step",
             "the last dense step, after which variance and trust ratios are frozen and messages are 1 bit; "
             "\"auto\": when the variance is stable"),
         FreezeRule::threshold_option(), FreezeRule::window_option(), BoundedMessages::message_option(),
         BoundedMessages::floor_option(), BoundedMessages::clamp_option()});
    return {schema.data(), schema.size()};
  }

  OneBitLamb(const Services& services, const Options& options)
      : adam_(options),
        messages_(options),
        loops_(kernels::loops(messages_.of_updates)),
        freeze_rule_(services, "onebit_lamb", "freeze_step", options, adam_.betas),
        ratios_(options),
        frozen_ratios_(options) {}

  void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) override {
    dense_ = DenseTensors(tensors);
    momentum_ = state.per_element("momentum");  // after the freeze step, as messages have it; then gone
    variance_ = state.per_element("variance");  // after the freeze: r
    fresh_ = state.per_element("fresh_variance");
    sums_.declare(state);
    ratios_.declare(state);
    frozen_ratios_.declare(state);
    freeze_rule_.declare(state);
    momentum_squares_ = state.per_block("momentum_squares");
    coefficient_ = state.per_tensor("coefficient");  // what this step multiplies the learning rate by
    scaling_ = state.per_tensor("scaling");
    frozen_ = state.per_model("frozen_at_step");
    dense_updates_ = state.per_model("dense_updates");
    compressed_updates_ = state.per_model("compressed_updates");
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    const int64_t compressed = counter(totals, compressed_updates_);
    scalars_ = adam_.scalars(counter(totals, dense_updates_) + compressed + 1);
    first_ = compressed == 0;
    const bool frozen = counter(totals, frozen_) > 0;
    stage_ = frozen ? Stage::compressed : freeze_rule_.is_last(step, totals) ? Stage::freeze : Stage::dense;
    plan.apply = true;
    if (!frozen) return plan.add_round(RoundKind::dense, Of::gradient);
    plan.add_round(RoundKind::compressed, Of::message, true);
    plan.previous_in_consume = true;
    plan.mean_in_apply = true;
    if (first_) plan.release(momentum_);
  }

  void produce(const Step&, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) produce_block(tile, block);
  }

  void consume(const Step& step, int, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const auto decay = static_cast<float>(step.groups[block.group].weight_decay);
      is_dense(block.tensor) ? consume_dense(tile, block, decay) : consume_frozen(tile, block, decay);
    }
  }

  void combine(const Step& step, const Totals& totals) override {
    for (int64_t tensor = 0; tensor < totals.tensor_count; ++tensor)
      doubles(totals, coefficient_)[tensor] =
          is_dense(tensor) ? measured_ratio(totals, tensor) : frozen_ratios_.follow(totals, tensor);
    if (sums_variance()) {
      const double norm = sums_.combine(totals, dense_, scalars_.correct2);
      if (freeze_rule_.automatic()) freeze_rule_.observe(step, totals, norm);
    }
    if (stage_ == Stage::freeze) {
      freeze_tensors(totals);
      *doubles(totals, frozen_) = static_cast<double>(step.number);
    }
    *doubles(totals, stage_ == Stage::compressed ? compressed_updates_ : dense_updates_) += 1;
  }

  void apply(const Step& step, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const Group& group = step.groups[block.group];
      const double rate = group.learning_rate * doubles(tile, coefficient_)[block.tensor];
      step_block(tile, block, {static_cast<float>(rate), static_cast<float>(group.weight_decay)});
      if (stage_ == Stage::freeze && !dense_.has(block.tensor)) freeze_block(tile, block);
    }
  }

 private:
  enum class Stage { dense, freeze, compressed };

  // Whether this step updates the tensor as LAMB does.
  bool is_dense(int64_t tensor) const { return stage_ != Stage::compressed || dense_.has(tensor); }
  bool sums_variance() const { return stage_ == Stage::freeze || (stage_ == Stage::dense && freeze_rule_.automatic()); }
  float floor(const Tile& tile, const Block& block) const {
    return static_cast<float>(messages_.variance_floor * sums_.mean(tile, block.tensor));
  }
  kernels::Scaling scaling(const Tile& tile, const Block& block) const {
    const double factor = doubles(tile, scaling_)[block.tensor];
    return {static_cast<float>(factor), static_cast<float>(1 / factor)};
  }

  // The mean of the message before this one.
  const float* before(const Tile& tile, const Block& block) const {
    if (first_) return floats(tile, block, momentum_);
    if (tile.previous == nullptr)
      throw Error(Code::state_mismatch,
                  "the retained mean of the last compressed step is missing; "
                  "resume from a checkpoint that has it");
    return tile.previous + block.packed;
  }

  void produce_block(const Tile& tile, const Block& block) const {
    float* const message = tile.message + block.packed;
    const float gradient_scale = *tile.gradient_scale;
    if (dense_.has(block.tensor)) return loops_.scale(gradient_scale, block.count, block.gradient, message);
    loops_.produce(scalars_, scaling(tile, block), gradient_scale, messages_.limit, block.count, before(tile, block),
                   floats(tile, block, variance_), block.gradient, message);
  }

  void consume_dense(const Tile& tile, const Block& block, float decay) const {
    float *const momentum = floats(tile, block, momentum_), *const variance = floats(tile, block, variance_);
    ratios_.add(
        tile, block,
        loops_.update_moments(scalars_, decay, block.count, tile.mean + block.packed, momentum, variance, block.parameter));
    if (sums_variance()) sums_.add(tile, block, loops_.sum_variance(variance, block.count));
    if (stage_ == Stage::freeze) doubles(tile, momentum_squares_)[block.index] = loops_.sum_squares(momentum, block.count);
  }

  void consume_frozen(const Tile& tile, const Block& block, float decay) const {
    const kernels::Frozen frozen = {floats(tile, block, variance_), floats(tile, block, fresh_), floor(tile, block)};
    frozen_ratios_.add(tile, block,
                       loops_.refresh(scalars_, scaling(tile, block), decay, block.count, tile.mean + block.packed,
                                      before(tile, block), frozen, block.parameter));
  }

  double measured_ratio(const Totals& totals, int64_t tensor) const {
    const std::optional<double> ratio = ratios_.of(totals, tensor);
    if (ratio && stage_ != Stage::compressed) frozen_ratios_.measure(totals, tensor, *ratio);
    return ratio.value_or(1);
  }

  void step_block(const Tile& tile, const Block& block, Rates rates) const {
    const float* const variance = floats(tile, block, variance_);
    if (is_dense(block.tensor))
      loops_.step_by_moments(scalars_, rates, block.count, floats(tile, block, momentum_), variance, block.parameter);
    else
      loops_.step(scalars_, scaling(tile, block), rates, block.count, tile.mean + block.packed, variance, block.parameter);
  }

  void freeze_block(const Tile& tile, const Block& block) const {
    loops_.freeze(scalars_, floor(tile, block), scaling(tile, block), block.count, floats(tile, block, momentum_),
                  floats(tile, block, variance_), floats(tile, block, fresh_));
  }

  // Scalings bring the momenta of all tensors to one magnitude, for one scale may serve them all.
  void freeze_tensors(const Totals& totals) const {
    double sum = 0, moving = 0;
    for (int64_t tensor = 0; tensor < totals.tensor_count; ++tensor) {
      const double size = momentum_size(totals, tensor);
      if (size > 0 && !dense_.has(tensor)) sum += size, moving += 1;
    }
    for (int64_t tensor = 0; tensor < totals.tensor_count; ++tensor) {
      const double size = momentum_size(totals, tensor);
      doubles(totals, scaling_)[tensor] = size > 0 && moving > 0 ? sum / moving / size : 1;
      frozen_ratios_.freeze(totals, tensor);
    }
  }
  // Root mean square.
  double momentum_size(const Totals& totals, int64_t tensor) const {
    const double squares = sum_of_blocks(totals, tensor, momentum_squares_);
    return squares > 0 ? std::sqrt(squares / static_cast<double>(totals.elements[tensor])) : 0;
  }

  const AdamOptions adam_;
  const BoundedMessages messages_;
  const kernels::Loops& loops_;
  FreezeRule freeze_rule_;
  TrustRatios ratios_;
  FrozenRatios frozen_ratios_;
  VarianceSums sums_;
  DenseTensors dense_;
  int momentum_ = -1, variance_ = -1, fresh_ = -1;
  int momentum_squares_ = -1, coefficient_ = -1, scaling_ = -1;
  int frozen_ = -1, dense_updates_ = -1, compressed_updates_ = -1;
  Stage stage_ = Stage::dense;  // of the step that was planned last, as are the scalars and
  bool first_ = true;           // whether no compressed step came before it
  AdamScalars scalars_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("onebit_lamb", "0.1.0", onebit::component<onebit::OneBitLamb>("onebit_lamb"))
