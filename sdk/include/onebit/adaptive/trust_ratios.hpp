// SPDX-License-Identifier: Apache-2.0
// The trust ratios of LAMB (You et al., arXiv 1904.00962): each tensor's step is multiplied by a coefficient
//
//   c = clip(|p| / |u|, min_coeff, max_coeff),   1 where a norm is 0
//
// so that it is a share of the tensor's own size. Blocks hand in sums of squares in consume, combine makes the coefficients.
#pragma once

#include <string>

#include "onebit/programs/view.hpp"

namespace onebit {

// Plain data for programs (program.hpp); what takes sums is in lamb_loops.hpp.
struct TrustRatios {
  double minimum = 0, maximum = 0;
  int parameter_squares = -1, update_squares = -1;

  static onebit_schema maximum_option() {
    return real_option("max_coeff", "10", 0, 1e30, "upper limit of the trust ratio of a tensor");
  }
  static onebit_schema minimum_option() {
    return real_option("min_coeff", "0.01", 0, 1e30, "lower limit of the trust ratio of a tensor");
  }
  static TrustRatios checked(const Options& options) {
    TrustRatios ratios;
    ratios.minimum = options.real("min_coeff");
    ratios.maximum = options.real("max_coeff");
    if (ratios.minimum > ratios.maximum)
      throw Error(Code::invalid_argument, "min_coeff is " + std::to_string(ratios.minimum) + ", above max_coeff, " +
                                              std::to_string(ratios.maximum) + "; it must not be above it");
    return ratios;
  }
  void declare(StateDeclarer& state) {
    parameter_squares = state.per_block("parameter_squares");
    update_squares = state.per_block("update_squares");
  }
};

}  // namespace onebit
