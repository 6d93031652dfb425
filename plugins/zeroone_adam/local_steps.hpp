// The steps that each rank takes by itself since the last sync: how many, at which learning rates and with how much weight
// decay, which all ranks know; and what a sync makes of them.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

class LocalSteps {
 public:
  void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) {
    int groups = 1;
    for (const TensorInfo* tensor : tensors) groups = std::max(groups, static_cast<int>(tensor->group) + 1);
    steps_ = state.per_model("local_steps_since_sync");
    rates_ = state.per_model("learning_rate_since_sync", groups);  // of each group, summed
    decayed_ = state.per_model("decayed_since_sync", groups);      // 1 - prod (1 - lr wd)
    syncs_.resize(static_cast<size_t>(groups));
  }

  // In plan of a step that is a sync. Where all learning rates were 0 there is nothing to weigh by, and nothing moves: the
  // momentum alone is brought together.
  void plan_sync(const Step& step, const Totals& totals) {
    const double steps = *doubles(totals, steps_) + 1;
    for (size_t g = 0; g < syncs_.size() && g < step.group_count; ++g) {
      const Group& group = step.groups[g];
      const double total = doubles(totals, rates_)[g] + group.learning_rate, rate = total / steps;
      const double keep = (1 - doubles(totals, decayed_)[g]) * (1 - group.learning_rate * group.weight_decay);
      syncs_[g] = {static_cast<float>(rate > 0 ? 1 / rate : 0),
                   static_cast<float>(rate > 0 ? group.learning_rate / rate : steps),
                   static_cast<float>(rate),
                   static_cast<float>(total),
                   static_cast<float>(keep),
                   static_cast<float>(1 / steps)};
    }
  }
  // Of a group, in the step that was planned last.
  const kernels::Sync& sync(const Block& block) const { return syncs_[static_cast<size_t>(block.group)]; }

  // In combine of a local step, and of a sync.
  void add(const Step& step, const Totals& totals) const {
    *doubles(totals, steps_) += 1;
    for (size_t g = 0; g < syncs_.size() && g < step.group_count; ++g) {
      const Group& group = step.groups[g];
      doubles(totals, rates_)[g] += group.learning_rate;
      double& decayed = doubles(totals, decayed_)[g];
      decayed += (1 - decayed) * group.learning_rate * group.weight_decay;
    }
  }
  void forget(const Totals& totals) const {
    *doubles(totals, steps_) = 0;
    std::fill_n(doubles(totals, rates_), syncs_.size(), 0.0);
    std::fill_n(doubles(totals, decayed_), syncs_.size(), 0.0);
  }

 private:
  int steps_ = -1, rates_ = -1, decayed_ = -1;
  std::vector<kernels::Sync> syncs_;  // by group
};

}  // namespace onebit
