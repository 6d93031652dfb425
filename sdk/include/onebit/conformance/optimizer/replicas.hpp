// SPDX-License-Identifier: Apache-2.0
// Several ranks in step, each with gradients of its own, and the exact mean of what they send; or what a lossy exchange leaves.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "onebit/conformance/optimizer/journey.hpp"
#include "onebit/conformance/optimizer/plans.hpp"

namespace onebit::conformance {

inline Floats exact_mean(const Tensors& messages) {
  Floats mean(messages[0].size());
  for (size_t i = 0; i < mean.size(); ++i) {
    double sum = 0;
    for (const Floats& message : messages) sum += static_cast<double>(message[i]);
    mean[i] = static_cast<float>(sum / static_cast<double>(messages.size()));
  }
  return mean;
}

class Replicas {
 public:
  // What becomes of a compressed round's messages; reset: the errors are to be forgotten first.
  using Exchange = std::function<Floats(const Tensors& messages, bool reset)>;

  Replicas(const MakeOptimizer& make, int ranks, const Tensors& initial, const std::vector<uint64_t>& flags = {}) {
    for (int rank = 0; rank < ranks; ++rank) {
      optimizers_.push_back(make());
      hosts.push_back(std::make_unique<TileHost>(*optimizers_.back(), initial, journey_block, flags));
      hosts.back()->rank = rank;
      hosts.back()->ranks = ranks;
      hosts.back()->state.poison_released = true;
    }
    exchange = [](const Tensors& messages, bool) { return exact_mean(messages); };
  }

  // gradients(rank): one a tensor.
  template <class Gradients>
  const Plan& step(const Gradients& gradients) {
    for (size_t rank = 0; rank < hosts.size(); ++rank) hosts[rank]->begin(gradients(static_cast<int>(rank)));
    const Plan& plan = hosts[0]->plan();
    for (const auto& host : hosts)
      require(same_plan(plan, host->plan()),
              "rank " + std::to_string(host->rank) + " plans step " + std::to_string(host->number) + " otherwise than rank 0");
    std::vector<Tensors> sent(plan.rounds().size);
    for (size_t r = 0; r < sent.size(); ++r)
      for (const auto& host : hosts) sent[r].push_back(host->send(static_cast<int>(r)));
    for (size_t r = 0; r < sent.size(); ++r) {
      const Floats mean = mean_of(plan, r, sent[r]);
      for (const auto& host : hosts) host->receive(static_cast<int>(r), mean);
    }
    for (const auto& host : hosts) host->finish();
    return hosts[0]->plan();
  }

  std::vector<std::unique_ptr<TileHost>> hosts;
  Exchange exchange;

 private:
  // Exempt tensors travel and are averaged as they are.
  Floats mean_of(const Plan& plan, size_t round, const Tensors& sent) const {
    const Floats exact = exact_mean(sent);
    if (plan.rounds()[round].kind == RoundKind::dense) return exact;
    Floats mean = exchange(sent, plan.reset_error);
    for (const Block& block : hosts[0]->model.blocks)
      if (hosts[0]->model.is_dense(block.tensor))
        std::copy_n(exact.begin() + block.flat, block.count, mean.begin() + block.flat);
    return mean;
  }

  std::vector<std::unique_ptr<Optimizer>> optimizers_;
};

// What ranks must have in common after a step; together: it had a round.
inline void require_agreement(const TileHost& a, const TileHost& b, bool together) {
  const std::string who =
      "after " + at_step(a) + " rank " + std::to_string(b.rank) + " of " + std::to_string(b.ranks) + " has another ";
  for (size_t t = 0; together && t < a.parameters.size(); ++t)
    require(same_bits(a.parameters[t], b.parameters[t]),
            who + "parameter " + a.model.name(static_cast<int64_t>(t)) +
                " than rank 0: " + first_difference(a.parameters[t], b.parameters[t]));
  for (size_t s = 0; s < a.state.slots.size(); ++s) {
    const TileSlot &one = a.state.slots[s], &other = b.state.slots[s];
    if (one.extent == ONEBIT_PER_BLOCK || one.scope != ONEBIT_REPLICATED) continue;
    require(one.same_as(other), who + "'" + one.name + "' than rank 0, though that state is declared replicated");
  }
}

// Protects from: replicas that drift apart: an update that uses what only one rank has, its gradient, its rank or its clock.
inline void replicas_agree(const MakeOptimizer& make) {
  for (const int ranks : {2, 3, 4}) {
    Replicas replicas(make, ranks, initial_parameters(), {0, 0, ONEBIT_TENSOR_DENSE});
    for (int64_t step = 1; step <= journey_steps; ++step) {
      const Plan& plan = replicas.step([&](int rank) { return gradients_of(step, rank); });
      for (const auto& host : replicas.hosts) require_agreement(*replicas.hosts[0], *host, plan.rounds().size > 0);
    }
  }
}

// Protects from: runs that can't be saved, evaluated or go on with other ranks, for the optimizer goes on locally when the host
// asks it to bring the ranks together.
inline void sync_brings_ranks_together(const MakeOptimizer& make) {
  Replicas replicas(make, 2, initial_parameters());
  for (int64_t step = 1; step <= journey_steps; ++step) {
    const bool sync = step % 7 == 0;
    for (const auto& host : replicas.hosts) host->step_flags = sync ? ONEBIT_STEP_SYNC : 0;
    const Plan& plan = replicas.step([&](int rank) { return gradients_of(step, rank); });
    if (!sync) continue;
    require(plan.rounds().size > 0, "step " + std::to_string(step) + " has ONEBIT_STEP_SYNC, but its plan has no round");
    require_agreement(*replicas.hosts[0], *replicas.hosts[1], true);
  }
}

// Protects from: evaluating and saving old parameters: those of the anchor, in a run with local steps.
inline void anchor_is_where_ranks_met(const MakeOptimizer& make) {
  Replicas replicas(make, 2, initial_parameters());
  const TileHost& host = *replicas.hosts[0];
  const TileSlot* anchor = nullptr;
  for (const TileSlot& slot : host.state.slots)
    if (slot.role == ONEBIT_ROLE_ANCHOR) anchor = &slot;
  if (anchor == nullptr) throw NotApplicable("no anchor is declared");
  Floats met;
  bool local = false;
  for (int64_t step = 1; step <= journey_steps && !anchor->released; ++step) {
    const Plan& plan = replicas.step([&](int rank) { return gradients_of(step, rank); });
    if (plan.rounds().size == 0) {
      local = true;
      require(same_bits(anchor->floats.values(), met), "after the local step " + std::to_string(step) +
                                                           " the anchor is not what the parameters were when the ranks met: " +
                                                           first_difference(anchor->floats.values(), met));
      continue;
    }
    met.clear();
    for (const Floats& tensor : host.parameters) met.insert(met.end(), tensor.begin(), tensor.end());
  }
  if (!local) throw NotApplicable("there was no local step in " + std::to_string(journey_steps));
}

}  // namespace onebit::conformance
