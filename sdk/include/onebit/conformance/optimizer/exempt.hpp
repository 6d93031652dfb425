// SPDX-License-Identifier: Apache-2.0
// Cases of tensors that are exempt from compression (ONEBIT_TENSOR_DENSE).
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "onebit/conformance/optimizer/replicas.hpp"

namespace onebit::conformance {

constexpr size_t exempt_tensor = 3;
inline std::vector<uint64_t> with_exempt() { return {0, 0, 0, ONEBIT_TENSOR_DENSE}; }

// A lossy exchange without memory: signs, and one magnitude.
inline Floats only_signs(const Tensors& messages, bool) {
  Floats mean = exact_mean(messages);
  for (float& m : mean) m = m < 0 ? -0.01F : 0.01F;
  return mean;
}

// State that begins later has no elements of exempt tensors: here they are NaN.
inline void require_finite(const Floats& exempt, int64_t step) {
  require(std::all_of(exempt.begin(), exempt.end(), [](float p) { return std::isfinite(p); }),
          "an exempt tensor is not finite after step " + std::to_string(step) +
              ": is it updated from state that is released, or begins later, of which it has none?");
}

// Protects from: tensors that the user exempted, and whose update nevertheless depends on what compression does to the others.
inline void exempt_tensors_lose_nothing(const MakeOptimizer& make) {
  Replicas exact(make, 2, initial_parameters(), with_exempt()), lossy(make, 2, initial_parameters(), with_exempt());
  lossy.exchange = only_signs;
  bool compressed = false;
  for (int64_t step = 1; step <= journey_steps; ++step) {
    const auto gradients = [&](int rank) { return gradients_of(step, rank); };
    for (const Plan::Round& round : exact.step(gradients).rounds())
      compressed = compressed || round.kind == RoundKind::compressed;
    lossy.step(gradients);
    const Floats &one = exact.hosts[0]->parameters[exempt_tensor], &other = lossy.hosts[0]->parameters[exempt_tensor];
    require_finite(one, step);
    require(same_bits(one, other), "what compression did to other tensors changed an exempt one: after step " +
                                       std::to_string(step) + ", " + first_difference(one, other));
  }
  if (!compressed) throw NotApplicable("no round was compressed in " + std::to_string(journey_steps) + " steps");
}

// Gradients that are far apart on two ranks, in the exempt tensor, or (apart = 0) the same; of one mean. Never near zero, where
// the last bit of a mean decides about a sign.
inline Tensors gradients_around_mean(int64_t step, int rank, float apart) {
  Tensors gradients = gradients_of(step, 0);
  for (float& g : gradients[exempt_tensor]) g = 0.05F + 0.2F * g + (rank == 0 ? apart : -apart);
  return gradients;
}

// Protects from: votes, signs and clamps of single ranks in the update of an exempt tensor: the mean of the ranks' gradients is
// all that its dense parent knows of.
inline void exempt_tensors_follow_the_mean_gradient(const MakeOptimizer& make) {
  Replicas alike(make, 2, initial_parameters(), with_exempt()), apart(make, 2, initial_parameters(), with_exempt());
  bool compressed = false;
  Floats one, other;  // when the ranks met last
  for (int64_t step = 1; step <= journey_steps; ++step) {
    const Plan& plan = alike.step([&](int rank) { return gradients_around_mean(step, rank, 0); });
    apart.step([&](int rank) { return gradients_around_mean(step, rank, 0.25F); });
    require_finite(alike.hosts[0]->parameters[exempt_tensor], step);
    for (const Plan::Round& round : plan.rounds()) compressed = compressed || round.kind == RoundKind::compressed;
    if (plan.rounds().size == 0) continue;
    one = alike.hosts[0]->parameters[exempt_tensor];
    other = apart.hosts[0]->parameters[exempt_tensor];
  }
  if (!compressed) throw NotApplicable("no round was compressed in " + std::to_string(journey_steps) + " steps");
  const Floats start = initial_parameters()[exempt_tensor];
  float moved = 0, differs = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    moved = std::max(moved, std::fabs(one[i] - start[i]));
    differs = std::max(differs, std::fabs(one[i] - other[i]));
  }
  require(differs <= 0.01F * moved, "an exempt tensor moved by up to " + text_of(moved) +
                                        " where the ranks' gradients were the same, and " + text_of(differs) +
                                        " elsewhere where only their mean was");
}

}  // namespace onebit::conformance
