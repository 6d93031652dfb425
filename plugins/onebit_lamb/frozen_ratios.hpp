// SPDX-License-Identifier: Apache-2.0
// What becomes of LAMB's trust ratios |p| / |u| when the variance is frozen: the average of those that were measured, times a
// factor that follows the variance which the compressed means let guess (Li et al., 1-bit LAMB, section 5); and times the
// growth of |p|, which every rank knows exactly and the paper leaves frozen as well.
//
//   F = max over elements of (root of frozen + eps) / (root of fresh variance + eps)
//   with weight decay, whose part of the update owes nothing to the variance: F = F q + 1 - q,  q = min(1, |u0| / |u|)
//   clipped to factor_min .. factor_max, and to its last value (1 - factor_threshold .. 1 + factor_threshold)
//
// and, with trust_ratio = "norm" and message = "update", at most twice what LAMB would take for the compressed update, whose
// norm all ranks know: what compression adds makes it some 1.4 times as large as that of the update itself; beyond twice, the
// update has grown. (With message = "momentum" the norm is mostly what compression adds.)
#pragma once

#include <cmath>
#include <string>

#include "onebit/number_text.hpp"
#include "onebit/programs/view.hpp"

namespace onebit::kernels {

// Plain data for programs; what takes sums is in kernels.cpp.
struct FrozenRatios {
  double beta = 0, minimum = 0, maximum = 0, threshold = 0;
  double smallest = 0, largest = 0;  // min_coeff, max_coeff
  bool grows = true, has_limit = true;
  int direction_squares = -1, update_squares = -1, inverse_ratio = -1;
  int average = -1, weight = -1, factor = -1;
  int parameter_squares = -1, first_norm = -1;

  static onebit_schema beta_option() {
    return real_option("coeff_beta", "0.9", 0, 0.999999, "decay rate of the average of trust ratios that is frozen");
  }
  static onebit_schema maximum_option() {
    return real_option("factor_max", "4", 0, 1e6,
                       "upper limit of the factor that adapts a frozen trust ratio to the changing variance");
  }
  static onebit_schema minimum_option() { return real_option("factor_min", "0.5", 0, 1e6, "lower limit of that factor"); }
  static onebit_schema threshold_option() {
    return real_option("factor_threshold", "0.1", 0, 1, "largest relative change of that factor in one step");
  }

  static onebit_schema growth_option() {
    return text_option(
        "trust_ratio", "\"norm\"", "norm|frozen",
        "trust ratio after the freeze. norm: the frozen average times the growth of the tensor's norm since the freeze, at "
        "most twice that of LAMB for the compressed update; frozen: the frozen average, as in the paper");
  }

  static FrozenRatios checked(const Options& options) {
    FrozenRatios ratios;
    ratios.beta = options.real("coeff_beta");
    ratios.minimum = options.real("factor_min");
    ratios.maximum = options.real("factor_max");
    ratios.threshold = options.real("factor_threshold");
    ratios.smallest = options.real("min_coeff");
    ratios.largest = options.real("max_coeff");
    ratios.grows = options.text("trust_ratio") == "norm";
    ratios.has_limit = ratios.grows && options.text("message") == "update";
    if (ratios.minimum > ratios.maximum)
      throw Error(Code::invalid_argument, "factor_min is " + fixed_text(ratios.minimum, 6) + ", above factor_max, " +
                                              fixed_text(ratios.maximum, 6) + "; it must not be above it");
    return ratios;
  }

  void declare(StateDeclarer& state) {
    direction_squares = state.per_block("direction_squares");
    update_squares = state.per_block("frozen_update_squares");
    inverse_ratio = state.per_block("inverse_variance_ratio");
    average = state.per_tensor("average_coefficient");
    weight = state.per_tensor("average_weight");  // 1 - beta^k of k coefficients that were measured
    factor = state.per_tensor("factor");
    if (!grows) return;
    parameter_squares = state.per_block("frozen_parameter_squares");
    first_norm = state.per_tensor("norm_at_freeze");
  }

  // In combine of a dense step, by one thread. Every ratio counts, and the average has no bias: of k that are all c it is c,
  // whatever k.
  ONEBIT_HOST_DEVICE void measure(const View& view, int64_t tensor, double ratio) const {
    double& seen = doubles(view, weight)[tensor];
    seen = beta * seen + (1 - beta);
    doubles(view, average)[tensor] += (1 - beta) / seen * (ratio - doubles(view, average)[tensor]);
  }
  // The natural one, for x > 0, to 1e-7: of operations that give the same bits on the CPU and on CUDA.
  ONEBIT_HOST_DEVICE static double logarithm(double x) {
    constexpr double root_half = 0.70710678118654752, ln_2 = 0.69314718055994531;
    int exponent = 0;
    const double mantissa = std::frexp(x, &exponent), z = (mantissa - root_half) / (mantissa + root_half), square = z * z;
    const double series = z * (1 + square * (1.0 / 3 + square * (1.0 / 5 + square * (1.0 / 7))));
    return 2 * series + (exponent - 0.5) * ln_2;
  }
  // In combine of the last dense step, likewise.
  ONEBIT_HOST_DEVICE void freeze(const View& view, int64_t tensor) const {
    doubles(view, factor)[tensor] = 1;
    if (doubles(view, weight)[tensor] == 0) doubles(view, average)[tensor] = 1;
  }
  // In combine of a compressed step, likewise: what the learning rate of the tensor is multiplied by. direction, update,
  // parameter: sums of squares over the tensor; inverse: the least of the roots of fresh through frozen variance.
  ONEBIT_HOST_DEVICE double follow(const View& view, int64_t tensor, double direction, double update, double parameter,
                                   double inverse) const {
    if (update < 0) return 1;  // exempt
    const auto ratio = static_cast<double>(1.0f / static_cast<float>(inverse));
    const double share = update > direction ? std::sqrt(direction / update) : 1;
    const double wanted = clamped(ratio * share + (1 - share), minimum, maximum);
    double& last = doubles(view, factor)[tensor];
    last = clamped(wanted, last * (1 - threshold), last * (1 + threshold));
    const double kept = doubles(view, average)[tensor], norm = std::sqrt(parameter);
    if (!grows) return last * kept;
    const double grown = doubles(view, weight)[tensor] == 0 ? unmeasured(view, tensor, norm)
                                                            : clamped(kept * growth(view, tensor, norm), smallest, largest);
    if (!has_limit || update == 0 || norm == 0) return last * grown;
    const double most = 2 * clamped(norm / std::sqrt(update), smallest, largest);
    return last * grown < most ? last * grown : most;
  }

 private:
  // A tensor without a trust ratio in the dense stage, for it had no gradient, or a norm of 0: it is taken to be that of an
  // update whose elements are about 1, as Adam's are.
  ONEBIT_HOST_DEVICE double unmeasured(const View& view, int64_t tensor, double norm) const {
    if (norm == 0) return 1;
    return clamped(norm / std::sqrt(static_cast<double>(view.elements[tensor])), smallest, largest);
  }
  // Of the tensor's norm since the first compressed step, which every rank knows exactly; 1 where it was 0.
  ONEBIT_HOST_DEVICE double growth(const View& view, int64_t tensor, double norm) const {
    double& start = doubles(view, first_norm)[tensor];
    if (start == 0) start = norm;
    return start > 0 ? norm / start : 1;
  }
};

}  // namespace onebit::kernels
