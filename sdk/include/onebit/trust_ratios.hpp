// The trust ratios of LAMB (You et al., arXiv 1904.00962): each tensor's step is multiplied by a coefficient
//
//   c = clip(|p| / |u|, min_coeff, max_coeff),   1 where a norm is 0
//
// so that it is a share of the tensor's own size. Blocks hand in sums of squares in consume, combine makes the coefficients.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "onebit/optimizer.hpp"

namespace onebit {

// Of a block: p^2 and u^2.
struct LambSquares {
  float parameter;
  float update;
};

class TrustRatios {
 public:
  static onebit_schema maximum_option() {
    return real_option("max_coeff", "10", 0, 1e30, "the most that a tensor's trust ratio may be");
  }
  static onebit_schema minimum_option() {
    return real_option("min_coeff", "0.01", 0, 1e30, "the least that a tensor's trust ratio may be");
  }

  explicit TrustRatios(const Options& options) : minimum_(options.real("min_coeff")), maximum_(options.real("max_coeff")) {
    if (minimum_ > maximum_)
      throw Error(Code::invalid_argument, "min_coeff is " + std::to_string(minimum_) + ", above max_coeff, " +
                                              std::to_string(maximum_) + "; it must not be above it");
  }

  void declare(StateDeclarer& state) {
    parameter_squares_ = state.per_block("parameter_squares");
    update_squares_ = state.per_block("update_squares");
  }
  void add(const Tile& tile, const Block& block, LambSquares squares) const {
    doubles(tile, parameter_squares_)[block.index] = squares.parameter;
    doubles(tile, update_squares_)[block.index] = squares.update;
  }
  // In combine. Nothing where a norm is 0, and a coefficient of 1 is a convention and no measurement.
  std::optional<double> of(const Totals& totals, int64_t tensor) const {
    const double parameter = sum_of_blocks(totals, tensor, parameter_squares_);
    const double update = sum_of_blocks(totals, tensor, update_squares_);
    if (!(parameter > 0) || !(update > 0)) return std::nullopt;
    return std::max(minimum_, std::min(maximum_, std::sqrt(parameter / update)));
  }

 private:
  const double minimum_, maximum_;
  int parameter_squares_ = -1, update_squares_ = -1;
};

}  // namespace onebit
