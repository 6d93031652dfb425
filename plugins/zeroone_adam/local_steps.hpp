// SPDX-License-Identifier: Apache-2.0
// What 0/1 Adam remembers between two syncs, group by group: how many steps there were, the sum of their learning rates, and
// what weight decay has taken; and what a sync makes of them. All state is per model. Plain data for programs.
#pragma once

#include <algorithm>
#include <cstdint>

#include "onebit/programs/view.hpp"

namespace onebit::kernels {

// What a sync makes of the steps since the last one.
struct Sync {
  float weight, own;  // of u, and of this step's direction, in the message
  float rate, total;  // mean and sum of the learning rates
  float keep;         // what weight decay leaves
  float share;        // 1 / steps
};

struct LocalSteps {
  int steps = -1, rates = -1, decayed = -1;
  int64_t groups = 1;

  void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) {
    for (const TensorInfo* tensor : tensors) groups = std::max(groups, tensor->group + 1);
    steps = state.per_model("local_steps_since_sync");
    rates = state.per_model("learning_rate_since_sync", static_cast<int>(groups));  // of each group, summed
    decayed = state.per_model("decayed_since_sync", static_cast<int>(groups));      // 1 - prod (1 - lr wd)
  }

  // For this step. Where all learning rates were 0, or so small that fp32 has no reciprocal of them, there is nothing to weigh
  // by, and nothing moves: the momentum alone is brought together.
  ONEBIT_HOST_DEVICE Sync sync(const View& view, int64_t g) const {
    const Group& group = view.groups[g];
    const double count = *doubles(view, steps) + 1;
    const double total = doubles(view, rates)[g] + group.learning_rate, rate = total / count;
    const double keep = (1 - doubles(view, decayed)[g]) * (1 - group.learning_rate * group.weight_decay);
    const bool weighs = rate > 1e-37;
    return {static_cast<float>(weighs ? 1 / rate : 0),
            static_cast<float>(weighs ? group.learning_rate / rate : count),
            static_cast<float>(rate),
            static_cast<float>(total),
            static_cast<float>(keep),
            static_cast<float>(1 / count)};
  }

  // In combine of a local step, and of a sync; by one thread.
  ONEBIT_HOST_DEVICE void add(const View& view) const {
    *doubles(view, steps) += 1;
    for (int64_t g = 0; g < groups && g < view.group_count; ++g) {
      const Group& group = view.groups[g];
      doubles(view, rates)[g] += group.learning_rate;
      double& gone = doubles(view, decayed)[g];
      gone += (1 - gone) * group.learning_rate * group.weight_decay;
    }
  }
  ONEBIT_HOST_DEVICE void forget(const View& view) const {
    *doubles(view, steps) = 0;
    for (int64_t g = 0; g < groups; ++g) doubles(view, rates)[g] = doubles(view, decayed)[g] = 0;
  }
};

}  // namespace onebit::kernels
