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
#include <limits>

#include "frozen_ratios.hpp"
#include "kernels.hpp"
#include "onebit/freeze_rule.hpp"
#include "onebit/plugin.hpp"
#include "onebit/variance_sums.hpp"

namespace onebit {
namespace {

class OneBitLamb final : public Optimizer {
 public:
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        real_option("lr", "1e-3", 0, 1e6, "learning rate"),
        array_option("betas", "[0.9, 0.999]", 2, 0, 1, "decay of the momentum and of the variance; both below 1"),
        real_option("eps", "1e-8", 1e-30, 1, "added to the root of the variance"),
        real_option("weight_decay", "0", 0, 1e6, "decoupled weight decay"),
        boolean_option("bias_correction", "true", "divide momentum and variance by 1 - beta^t; false is the paper's"),
        TrustRatios::maximum_option(),
        TrustRatios::minimum_option(),
        FrozenRatios::beta_option(),
        FrozenRatios::growth_option(),
        FrozenRatios::maximum_option(),
        FrozenRatios::minimum_option(),
        FrozenRatios::threshold_option(),
        FreezeRule::step_option("freeze_step",
                                "the last dense step, after which variance and trust ratios are frozen and messages are 1 bit; "
                                "\"auto\": when the variance is stable"),
        FreezeRule::threshold_option(),
        FreezeRule::window_option(),
        text_option("message", "\"update\"", "update|momentum",
                    "what is compressed: the preconditioned update, whose steps are bounded, or the momentum, as in the paper"),
        real_option("variance_floor", "0.01", 0, 1, "at the freeze v is raised to this share of its tensor's mean; 0: none"),
        real_option("clamp", "10", 0, 1e30, "limit of the entries r * gradient of message = \"update\"; 0: none")};
    return {schema, std::size(schema)};
  }

  OneBitLamb(const Services& services, const Options& options)
      : betas_(AdamBetas::checked("onebit_lamb", options.reals("betas"))),
        eps_(options.real("eps")),
        variance_floor_(options.real("variance_floor")),
        limit_(options.real("clamp") > 0 ? static_cast<float>(options.real("clamp")) : std::numeric_limits<float>::infinity()),
        bias_correction_(options.boolean("bias_correction")),
        sends_update_(options.text("message") == "update"),
        freeze_rule_(services, "onebit_lamb", "freeze_step", options, betas_),
        ratios_("onebit_lamb", options),
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
    const int64_t compressed = count(totals, compressed_updates_);
    const int64_t update = count(totals, dense_updates_) + compressed + 1;
    scalars_ = AdamScalars(betas_, eps_, bias_correction_ ? update : 0);
    first_ = compressed == 0;
    const bool frozen = count(totals, frozen_) > 0;
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
      doubles(totals.slots, coefficient_)[tensor] =
          is_dense(tensor) ? measured_ratio(totals, tensor) : frozen_ratios_.follow(totals, tensor);
    if (sums_variance()) {
      const double norm = sums_.combine(totals, dense_, scalars_.correct2);
      if (freeze_rule_.automatic()) freeze_rule_.observe(step, totals, norm);
    }
    if (stage_ == Stage::freeze) {
      freeze_tensors(totals);
      *doubles(totals.slots, frozen_) = static_cast<double>(step.number);
    }
    *doubles(totals.slots, stage_ == Stage::compressed ? compressed_updates_ : dense_updates_) += 1;
  }

  void apply(const Step& step, const Tile& tile) const override {
    for (const Block& block : blocks(tile)) {
      const Group& group = step.groups[block.group];
      const double rate = group.learning_rate * doubles(tile.slots, coefficient_)[block.tensor];
      const Rates rates = {static_cast<float>(rate), static_cast<float>(group.weight_decay)};
      is_dense(block.tensor) ? apply_dense(tile, block, rates) : apply_frozen(tile, block, rates);
      if (stage_ == Stage::freeze && !dense_.has(block.tensor)) freeze_block(tile, block);
    }
  }

 private:
  enum class Stage { dense, freeze, compressed };

  // Whether this step updates the tensor as LAMB does.
  bool is_dense(int64_t tensor) const { return stage_ != Stage::compressed || dense_.has(tensor); }
  bool sums_variance() const { return stage_ == Stage::freeze || (stage_ == Stage::dense && freeze_rule_.automatic()); }
  static Slice<const Block> blocks(const Tile& tile) { return {tile.blocks, tile.block_count}; }
  static double* doubles(void* const* slots, int slot) { return static_cast<double*>(slots[slot]); }
  static float* floats(const Tile& tile, const Block& block, int slot) {
    return static_cast<float*>(tile.slots[slot]) + block.flat;
  }
  static int64_t count(const Totals& totals, int slot) { return static_cast<int64_t>(*doubles(totals.slots, slot)); }
  float floor(const Tile& tile, const Block& block) const {
    return static_cast<float>(variance_floor_ * sums_.mean(tile, block.tensor));
  }
  kernels::Scaling scaling(const Tile& tile, const Block& block) const {
    const double factor = doubles(tile.slots, scaling_)[block.tensor];
    return {static_cast<float>(factor), static_cast<float>(1 / factor)};
  }

  // The mean of the message before this one.
  const float* before(const Tile& tile, const Block& block) const {
    if (first_) return floats(tile, block, momentum_);
    if (tile.previous == nullptr)
      throw Error(Code::state_mismatch,
                  "optimizer onebit_lamb: the retained mean of the last compressed step is missing; "
                  "resume from a checkpoint that has it");
    return tile.previous + block.packed;
  }

  void produce_block(const Tile& tile, const Block& block) const {
    float* const message = tile.message + block.packed;
    const float gradient_scale = *tile.gradient_scale;
    if (dense_.has(block.tensor)) return kernels::scale(gradient_scale, block.count, block.gradient, message);
    if (sends_update_)
      kernels::produce_update(scalars_, gradient_scale, limit_, block.count, before(tile, block),
                              floats(tile, block, variance_), block.gradient, message);
    else
      kernels::produce_momentum(scalars_, scaling(tile, block), gradient_scale, block.count, before(tile, block),
                                block.gradient, message);
  }

  void consume_dense(const Tile& tile, const Block& block, float decay) const {
    float* const momentum = floats(tile, block, momentum_);
    float* const variance = floats(tile, block, variance_);
    ratios_.add(
        tile, block,
        kernels::update_moments(scalars_, decay, block.count, tile.mean + block.packed, momentum, variance, block.parameter));
    if (sums_variance()) sums_.add(tile, block, kernels::sum_variance(variance, block.count));
    if (stage_ == Stage::freeze)
      doubles(tile.slots, momentum_squares_)[block.index] = kernels::sum_squares(momentum, block.count);
  }

  void consume_frozen(const Tile& tile, const Block& block, float decay) const {
    const float* const mean = tile.mean + block.packed;
    const kernels::Frozen frozen = {floats(tile, block, variance_), floats(tile, block, fresh_), floor(tile, block)};
    const kernels::FactorSums sums =
        sends_update_
            ? kernels::refresh_from_update(scalars_, decay, block.count, mean, before(tile, block), frozen, block.parameter)
            : kernels::refresh_from_momentum(scalars_, scaling(tile, block), decay, block.count, mean, before(tile, block),
                                             frozen, block.parameter);
    frozen_ratios_.add(tile, block, sums);
  }

  double measured_ratio(const Totals& totals, int64_t tensor) const {
    const std::optional<double> ratio = ratios_.of(totals, tensor);
    if (ratio && stage_ != Stage::compressed) frozen_ratios_.measure(totals, tensor, *ratio);
    return ratio.value_or(1);
  }

  void apply_dense(const Tile& tile, const Block& block, Rates rates) const {
    kernels::step_by_moments(scalars_, rates, block.count, floats(tile, block, momentum_), floats(tile, block, variance_),
                             block.parameter);
  }
  void apply_frozen(const Tile& tile, const Block& block, Rates rates) const {
    const float* const mean = tile.mean + block.packed;
    const float* const reciprocal = floats(tile, block, variance_);
    if (sends_update_)
      kernels::step_by_update(scalars_, rates, block.count, mean, reciprocal, block.parameter);
    else
      kernels::step_by_momentum(scalars_, scaling(tile, block), rates, block.count, mean, reciprocal, block.parameter);
  }

  void freeze_block(const Tile& tile, const Block& block) const {
    float* const momentum = floats(tile, block, momentum_);
    float* const variance = floats(tile, block, variance_);
    kernels::freeze(scalars_, floor(tile, block), block.count, variance, floats(tile, block, fresh_));
    if (sends_update_)
      kernels::precondition(block.count, variance, momentum);
    else
      kernels::scale(scaling(tile, block).factor, block.count, momentum, momentum);
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
      doubles(totals.slots, scaling_)[tensor] = size > 0 && moving > 0 ? sum / moving / size : 1;
      frozen_ratios_.freeze(totals, tensor);
    }
  }
  // Root mean square.
  double momentum_size(const Totals& totals, int64_t tensor) const {
    double squares = 0;
    for (int64_t block = totals.first_block[tensor]; block < totals.first_block[tensor + 1]; ++block)
      squares += doubles(totals.slots, momentum_squares_)[block];
    return squares > 0 ? std::sqrt(squares / static_cast<double>(totals.elements[tensor])) : 0;
  }

  const AdamBetas betas_;
  const double eps_, variance_floor_;
  const float limit_;
  const bool bias_correction_, sends_update_;
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
