// What a freeze needs to know of the variance: the mean of each tensor, for its floor; how many elements have none; and the
// norm of the whole, for the rule "auto". Tensors that are exempt from compression are never frozen and do not count.
#pragma once

#include "onebit/dense_tensors.hpp"
#include "onebit/frozen.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

class VarianceSums {
 public:
  void declare(StateDeclarer& state) {
    sum_ = state.per_block("variance_sum");
    zeros_ = state.per_block("zero_variances");
    mean_ = state.per_tensor("mean_variance");
    dead_ = state.per_tensor("dead_elements");
  }
  // In consume, after the variance of a block has changed.
  void add(const Tile& tile, const Block& block, VarianceSum partial) const {
    doubles(tile, sum_)[block.index] = partial.sum;
    doubles(tile, zeros_)[block.index] = static_cast<double>(partial.zeros);
  }
  // In combine. correct: of the variance's bias. Answers the L1 norm of the corrected variance.
  double combine(const Totals& totals, const DenseTensors& dense, double correct) const {
    double norm = 0;
    for (int64_t tensor = 0; tensor < totals.tensor_count; ++tensor) {
      const double sum = sum_of_blocks(totals, tensor, sum_);
      const auto elements = static_cast<double>(totals.elements[tensor]);
      doubles(totals, mean_)[tensor] = elements > 0 ? sum / elements * correct : 0;
      doubles(totals, dead_)[tensor] = sum_of_blocks(totals, tensor, zeros_);
      if (!dense.has(tensor)) norm += sum * correct;
    }
    return norm;
  }
  // Of a tensor, after combine.
  double mean(const Tile& tile, int64_t tensor) const { return doubles(tile, mean_)[tensor]; }
  bool has_dead(const Tile& tile, int64_t tensor) const { return doubles(tile, dead_)[tensor] > 0; }

 private:
  int sum_ = -1, zeros_ = -1, mean_ = -1, dead_ = -1;
};

}  // namespace onebit
