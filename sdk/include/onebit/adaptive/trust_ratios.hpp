// SPDX-License-Identifier: Apache-2.0
// The trust ratios of LAMB (You et al., arXiv 1904.00962): each tensor's step is multiplied by a coefficient
//
//   c = clip(|p| / |u|, min_coeff, max_coeff),   1 where a norm is 0
//
// so that it is a share of the tensor's own size. Blocks hand in sums of squares in consume, combine makes the coefficients.
//
// always_adapt = false exempts the tensors of groups without weight decay, biases and norms by custom, as timm's Lamb does by
// default and NVIDIA's FusedLAMB unless use_nvlamb: their coefficient is 1.
#pragma once

#include <string>

#include "onebit/programs/view.hpp"

namespace onebit {

// What the blocks of exempt tensors hand in for the squares of their updates.
inline constexpr double no_update_squares = -1;

// Plain data for programs (program.hpp); what takes sums is in lamb_loops.hpp.
struct TrustRatios {
  double minimum = 0, maximum = 0;
  bool always = true;
  int parameter_squares = -1, update_squares = -1;

  static onebit_schema maximum_option() {
    return real_option("max_coeff", "10", 0, 1e30, "upper limit of the trust ratio of a tensor");
  }
  static onebit_schema minimum_option() {
    return real_option("min_coeff", "0.01", 0, 1e30, "lower limit of the trust ratio of a tensor");
  }
  static onebit_schema always_option() {
    return boolean_option(
        "always_adapt", "true",
        "false: tensors whose weight_decay is 0, as a table [[optimizer.group]] may give to biases and norms, "
        "have the trust ratio 1, as in timm and in NVIDIA's FusedLAMB");
  }
  static TrustRatios checked(const Options& options) {
    TrustRatios ratios;
    ratios.minimum = options.real("min_coeff");
    ratios.maximum = options.real("max_coeff");
    if (ratios.minimum > ratios.maximum)
      throw Error(Code::invalid_argument, "min_coeff is " + number_text(ratios.minimum) + ", above max_coeff, " +
                                              number_text(ratios.maximum) + "; it must not be above it");
    ratios.always = options.boolean("always_adapt");
    if (!ratios.always && options.real("weight_decay") == 0)
      throw Error(Code::invalid_argument,
                  "always_adapt is false, so tensors without weight decay have no trust ratio, and weight_decay is 0: set it "
                  "above 0, and weight_decay = 0.0 in a table [[optimizer.group]] for the tensors to exempt");
    return ratios;
  }
  ONEBIT_HOST_DEVICE bool adapt(const View& view, const Block& block) const {
    return always || group_of(view, block).weight_decay != 0;
  }
  void declare(StateDeclarer& state) {
    parameter_squares = state.per_block("parameter_squares");
    update_squares = state.per_block("update_squares");
  }
};

}  // namespace onebit
