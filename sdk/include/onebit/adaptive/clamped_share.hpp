// SPDX-License-Identifier: Apache-2.0
// Which share of this rank's preconditioned gradients is cut at the bound (option "clamp"). Taken from a sample, for a look
// costs a pass: each step looks at one block of 64, so that 64 steps look at all of them once, and what was found longer ago
// counts less. Plain data for programs (program.hpp); what looks at a block is in adam_loops.hpp.
#pragma once

#include "onebit/programs/view.hpp"

namespace onebit {

struct ClampedShare {
  bool counts = false;  // whether anything can be cut
  int cut = -1, looked_at = -1, tensor_cut = -1, tensor_looked_at = -1, cut_of_late = -1, looked_at_of_late = -1, share = -1;
  static constexpr int64_t interval = 64;  // steps

  // A number of the model named "clamped_share" is what the host tells of, from 0 to 1.
  void declare(StateDeclarer& state) {
    cut = state.per_block("clamped", Scope::rank_local, Reshard::zero);
    looked_at = state.per_block("looked_at", Scope::rank_local, Reshard::zero);
    tensor_cut = state.per_tensor("clamped_of_tensor", Scope::rank_local, Reshard::zero);
    tensor_looked_at = state.per_tensor("looked_at_of_tensor", Scope::rank_local, Reshard::zero);
    cut_of_late = state.per_model("clamped_of_late", Scope::rank_local, Reshard::zero);
    looked_at_of_late = state.per_model("looked_at_of_late", Scope::rank_local, Reshard::zero);
    share = state.per_model("clamped_share", Scope::rank_local, Reshard::zero);
  }
  ONEBIT_HOST_DEVICE bool looks_at(const View& view, int64_t block) const {
    return counts && (block + view.number) % interval == 0;
  }
  // In combine, by one thread: of a tensor that is not absent, over the blocks that were looked at.
  ONEBIT_HOST_DEVICE void combine_tensor(const View& view, int64_t tensor) const {
    double all_cut = 0, all_looked_at = 0;
    const int64_t first = view.first_block[tensor], end = view.first_block[tensor + 1];
    for (int64_t block = first + (interval - (first + view.number) % interval) % interval; block < end; block += interval) {
      all_cut += doubles(view, cut)[block];
      all_looked_at += doubles(view, looked_at)[block];
    }
    doubles(view, tensor_cut)[tensor] = all_cut;
    doubles(view, tensor_looked_at)[tensor] = all_looked_at;
  }
  // Once a step, after all tensors, by one thread.
  ONEBIT_HOST_DEVICE void combine_model(const View& view) const {
    if (!counts) return;
    constexpr double keep = 1 - 1.0 / static_cast<double>(interval);
    double& all_cut = *doubles(view, cut_of_late);
    double& all_looked_at = *doubles(view, looked_at_of_late);
    all_cut *= keep;
    all_looked_at *= keep;
    for (int64_t tensor = 0; tensor < view.tensor_count; ++tensor) {
      const double found = doubles(view, tensor_looked_at)[tensor];
      if (found == 0 || is_dense(view, tensor) || is_absent(view, tensor)) continue;
      all_cut += doubles(view, tensor_cut)[tensor];
      all_looked_at += found;
    }
    *doubles(view, share) = all_looked_at > 0 ? all_cut / all_looked_at : 0;
  }
};

}  // namespace onebit
