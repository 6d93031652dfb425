// SPDX-License-Identifier: Apache-2.0
// What a rank finds in its gradients in a step, block by block, in any order and on several threads: can they be used, which is
// the largest, and what is the sum of squares.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "device/gradient_scan.hpp"
#include "device/verdict.hpp"
#include "onebit/abi.h"

namespace onebit {

class GradientScanner {
 public:
  GradientScanner(const std::vector<onebit_block>& blocks, int workers)
      : blocks_(blocks), squares_(blocks.size(), 0), largest_(static_cast<size_t>(workers)) {}

  void begin(bool squares) {
    want_squares_ = squares;
    std::fill(largest_.begin(), largest_.end(), Largest());
  }
  // Each block once a step. Answers whether its gradient, times the scale, can be used.
  bool scan(int worker, int64_t block, float scale = 1) {
    const onebit_block& where = blocks_[static_cast<size_t>(block)];
    const GradientScan found = scan_gradient(where.gradient, where.count, want_squares_);
    const float magnitude = found.finite ? found.largest : std::numeric_limits<float>::infinity();
    largest_[static_cast<size_t>(worker)].note(magnitude, block);
    squares_[static_cast<size_t>(block)] = found.squares;
    return magnitude * std::fabs(scale) <= largest_gradient;
  }
  void tell(Ballot& own) const {
    Largest all;
    for (const Largest& largest : largest_) all.note(largest.magnitude, largest.block);
    own.largest = all.magnitude;
    if (all.block >= 0) own.flags |= tensor_flags(blocks_[static_cast<size_t>(all.block)].tensor);
    if (std::isinf(own.largest)) own.flags |= ballot_not_finite;
    own.squares = sum_by_lanes(squares_.data(), static_cast<int64_t>(squares_.size()));
  }

 private:
  struct Largest {
    float magnitude = 0;  // of a gradient; infinite where one is not finite or too large
    int64_t block = -1;   // the first that has it; -1: all are zero
    void note(float found, int64_t in) {
      if (found > magnitude || (found == magnitude && in < block)) *this = {found, in};
    }
  };
  const std::vector<onebit_block>& blocks_;
  bool want_squares_ = false;
  std::vector<double> squares_;   // by block
  std::vector<Largest> largest_;  // by worker
};

}  // namespace onebit
