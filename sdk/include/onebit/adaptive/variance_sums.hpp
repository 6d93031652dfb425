// SPDX-License-Identifier: Apache-2.0
// What a freeze needs to know of the variance: the mean of each tensor, for its floor; how many elements have none; and the
// norm of the whole, for the rule "auto". Tensors that are exempt from compression are never frozen and do not count. Plain
// data for programs (program.hpp); what takes sums is in adam_loops.hpp.
#pragma once

#include "onebit/programs/view.hpp"

namespace onebit {

struct VarianceSums {
  int sum = -1, zeros = -1, mean = -1, dead = -1, norm = -1;

  void declare(StateDeclarer& state) {
    sum = state.per_block("variance_sum");
    zeros = state.per_block("zero_variances");
    mean = state.per_tensor("mean_variance");
    dead = state.per_tensor("dead_elements");
    norm = state.per_tensor("variance_norm");
  }
  // Once a step, after combine_variance of all tensors: the L1 norm of the corrected variance.
  ONEBIT_HOST_DEVICE double total(const View& view) const {
    double result = 0;
    for (int64_t tensor = 0; tensor < view.tensor_count; ++tensor)
      if (!is_dense(view, tensor)) result += doubles(view, norm)[tensor];
    return result;
  }
  // The floor of a tensor's variance, a share of its mean.
  ONEBIT_HOST_DEVICE float floor(const View& view, int64_t tensor, double share) const {
    return static_cast<float>(share * doubles(view, mean)[tensor]);
  }
  ONEBIT_HOST_DEVICE bool has_dead(const View& view, int64_t tensor) const { return doubles(view, dead)[tensor] > 0; }
};

}  // namespace onebit
