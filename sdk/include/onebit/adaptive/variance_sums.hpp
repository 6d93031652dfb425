// SPDX-License-Identifier: Apache-2.0
// What a freeze needs to know of the variance: the mean of each tensor, for its floor; how many elements have none, for they
// have never seen a gradient; and the norm of the whole, for the rule "auto". Tensors that are exempt from compression are
// never frozen and do not count. Plain data for programs (program.hpp); what takes sums is in adam_loops.hpp.
#pragma once

#include "onebit/programs/view.hpp"

namespace onebit {

struct VarianceSums {
  int sum = -1, zeros = -1, mean = -1, unseen = -1, norm = -1, model_mean = -1, unseen_share = -1;
  // More than this share of all elements without a gradient are many: what decides by them waits for more.
  static constexpr double many_unseen = 0.1;

  void declare(StateDeclarer& state) {
    sum = state.per_block("variance_sum");
    zeros = state.per_block("zero_variances");
    mean = state.per_tensor("mean_variance");
    unseen = state.per_tensor("unseen_elements");
    norm = state.per_tensor("variance_norm");
    model_mean = state.per_model("mean_variance_of_model");
    unseen_share = state.per_model("unseen_share");
  }
  // Once a step, after combine_variance of all tensors, by one thread: answers the L1 norm of the corrected variance, and notes
  // the model's mean, and which share of its elements has had no gradient yet.
  ONEBIT_HOST_DEVICE double combine_model(const View& view) const {
    double result = 0, elements = 0, without = 0;
    for (int64_t tensor = 0; tensor < view.tensor_count; ++tensor) {
      if (is_dense(view, tensor)) continue;
      const auto own = static_cast<double>(view.elements[tensor]);
      const double own_norm = doubles(view, norm)[tensor];
      result += own_norm;
      elements += own;
      without += own_norm > 0 ? doubles(view, unseen)[tensor] : own;
    }
    *doubles(view, model_mean) = elements > 0 ? result / elements : 0;
    *doubles(view, unseen_share) = elements > 0 ? without / elements : 0;
    return result;
  }
  // The floor of a tensor's variance, a share of its mean; of the model's, where no element of it has seen a gradient.
  ONEBIT_HOST_DEVICE float floor(const View& view, int64_t tensor, double share) const {
    const double own = doubles(view, mean)[tensor];
    return static_cast<float>(share * (own > 0 ? own : *doubles(view, model_mean)));
  }
  // Whether elements of it have r = 0.
  ONEBIT_HOST_DEVICE bool has_resting(const View& view, int64_t tensor, double share) const {
    return doubles(view, unseen)[tensor] > 0 && floor(view, tensor, share) <= 0;
  }
};

}  // namespace onebit
