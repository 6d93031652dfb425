// SPDX-License-Identifier: Apache-2.0
// Cost: what a configuration costs for a model, without running it.
#pragma once

#include <cstdint>
#include <vector>

#include "onebit/configuration.hpp"
#include "onebit/parameter.hpp"
#include "onebit/registry.hpp"

namespace onebit {

// Bytes of state (and of masters: parameter.hpp) a parameter by stage, bytes sent a step and rank.
struct Cost {
  int64_t parameters = 0;
  int64_t compressed_parameters = 0;                               // as in Traffic
  double dense_state = 0, compressed_state = 0, peak_state = 0;    // bytes a parameter, worst rank
  uint64_t dense_traffic = 0, compressed_traffic = 0;              // bytes a step and rank; agreement apart
  uint64_t dense_local_traffic = 0, compressed_local_traffic = 0;  // the part inside a machine, with "hierarchical"
  // Bytes a parameter that steps by begin() hold beside these, at most: errors in two places, and means that wait for the
  // agreement. Such a step has two agreements. 0: no step can begin before its gradients are there, or session.overlap is
  // false.
  double overlap_state = 0;
  uint64_t agreement_traffic = 0;
  // Bytes of a checkpoint, in the stage in which it has more, but for headers and the record; and what of these the rank writes
  // that writes most.
  uint64_t checkpoint = 0, checkpoint_of_rank = 0;
  bool has_compressed_stage = false;
};
// machines: that the ranks are spread over, where exchange.topology is "hierarchical"; 0: each rank has its own.
Cost cost_of(const Registry& registry, const Configuration& configuration, const std::vector<Parameter>& parameters, int ranks,
             int machines = 0);

}  // namespace onebit
