// What becomes of LAMB's trust ratios |p| / |u| when the variance is frozen: the average of those that were measured, times a
// factor that follows the variance which the compressed means let guess (Li et al., 1-bit LAMB, section 5); and times the
// growth of |p|, which every rank knows exactly and the paper leaves frozen as well.
//
//   F = max over elements of (root of frozen + eps) / (root of fresh variance + eps)
//   with weight decay, whose part of the update owes nothing to the variance: F = F q + 1 - q,  q = min(1, |u0| / |u|)
//   clipped to factor_min .. factor_max, and to its last value (1 - factor_threshold .. 1 + factor_threshold)
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

class FrozenRatios {
 public:
  static onebit_schema beta_option() {
    return real_option("coeff_beta", "0.9", 0, 0.999999, "decay of the average of trust ratios that is frozen");
  }
  static onebit_schema maximum_option() {
    return real_option("factor_max", "4", 0, 1e6, "the most that a frozen trust ratio may be multiplied by");
  }
  static onebit_schema minimum_option() {
    return real_option("factor_min", "0.5", 0, 1e6, "the least that a frozen trust ratio may be multiplied by");
  }
  static onebit_schema threshold_option() {
    return real_option("factor_threshold", "0.1", 0, 1, "the share by which that factor may change in one step");
  }

  static onebit_schema growth_option() {
    return text_option(
        "trust_ratio", "\"norm\"", "norm|frozen",
        "after the freeze, the average of trust ratios times the growth of the tensor's norm since then, or as it "
        "is, as in the paper");
  }

  explicit FrozenRatios(const Options& options)
      : beta_(options.real("coeff_beta")),
        minimum_(options.real("factor_min")),
        maximum_(options.real("factor_max")),
        threshold_(options.real("factor_threshold")),
        smallest_(options.real("min_coeff")),
        largest_(options.real("max_coeff")),
        grows_(options.text("trust_ratio") == "norm") {
    if (minimum_ > maximum_)
      throw Error(Code::invalid_argument, "factor_min is " + std::to_string(minimum_) + ", above factor_max, " +
                                              std::to_string(maximum_) + "; it must not be above it");
  }

  void declare(StateDeclarer& state) {
    direction_squares_ = state.per_block("direction_squares");
    update_squares_ = state.per_block("frozen_update_squares");
    variance_ratio_ = state.per_block("variance_ratio");
    average_ = state.per_tensor("average_coefficient");
    measured_ = state.per_tensor("measured_coefficients");  // how many the average has seen
    factor_ = state.per_tensor("factor");
    if (!grows_) return;
    parameter_squares_ = state.per_block("frozen_parameter_squares");
    first_norm_ = state.per_tensor("norm_at_freeze");
  }
  // In combine of a dense step. Every ratio counts, and the average has no bias: of k that are all c it is c, whatever k.
  void measure(const Totals& totals, int64_t tensor, double ratio) const {
    double& average = doubles(totals, average_)[tensor];
    const double k = doubles(totals, measured_)[tensor] += 1;
    average += (1 - beta_) / (1 - std::pow(beta_, k)) * (ratio - average);
  }
  // In combine of the last dense step.
  void freeze(const Totals& totals, int64_t tensor) const {
    doubles(totals, factor_)[tensor] = 1;
    if (doubles(totals, measured_)[tensor] == 0) doubles(totals, average_)[tensor] = 1;
  }

  // In consume of a compressed step.
  void add(const Tile& tile, const Block& block, kernels::FactorSums sums) const {
    doubles(tile, direction_squares_)[block.index] = sums.direction;
    doubles(tile, update_squares_)[block.index] = sums.update;
    doubles(tile, variance_ratio_)[block.index] = sums.ratio;
    if (grows_) doubles(tile, parameter_squares_)[block.index] = sums.parameter;
  }
  // In its combine: what the learning rate of the tensor is multiplied by.
  double follow(const Totals& totals, int64_t tensor) const {
    const double direction = sum_of_blocks(totals, tensor, direction_squares_);
    const double update = sum_of_blocks(totals, tensor, update_squares_);
    double ratio = 0;
    for (int64_t block = totals.first_block[tensor]; block < totals.first_block[tensor + 1]; ++block)
      ratio = std::max(ratio, doubles(totals, variance_ratio_)[block]);
    const double share = update > direction ? std::sqrt(direction / update) : 1;
    const double wanted = std::clamp(ratio * share + (1 - share), minimum_, maximum_);
    double& factor = doubles(totals, factor_)[tensor];
    factor = std::clamp(wanted, factor * (1 - threshold_), factor * (1 + threshold_));
    const double average = doubles(totals, average_)[tensor];
    return factor * (grows_ ? std::clamp(average * growth(totals, tensor), smallest_, largest_) : average);
  }

 private:
  // Of the tensor's norm since the first compressed step, which every rank knows exactly; 1 where it was 0.
  double growth(const Totals& totals, int64_t tensor) const {
    const double norm = std::sqrt(sum_of_blocks(totals, tensor, parameter_squares_));
    double& first = doubles(totals, first_norm_)[tensor];
    if (first == 0) first = norm;
    return first > 0 ? norm / first : 1;
  }

  const double beta_, minimum_, maximum_, threshold_, smallest_, largest_;
  const bool grows_;
  int direction_squares_ = -1, update_squares_ = -1, variance_ratio_ = -1;
  int average_ = -1, measured_ = -1, factor_ = -1;
  int parameter_squares_ = -1, first_norm_ = -1;
};

}  // namespace onebit
