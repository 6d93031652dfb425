// SPDX-License-Identifier: Apache-2.0
// Cases of what an optimizer declares.
#pragma once

#include <set>
#include <string>

#include "onebit/conformance/optimizer/journey.hpp"

namespace onebit::conformance {

inline void require_sound(const TileSlot& slot) {
  const std::string what = "state '" + slot.name + "': ";
  require(!slot.name.empty(), "a state without a name");
  require(slot.count <= 4096 && (slot.extent != ONEBIT_PER_ELEMENT || slot.count == 1),
          what + "count " + std::to_string(slot.count) + ", expected 1 per element, at most 4096 per block, tensor or model");
  require(slot.scope == ONEBIT_REPLICATED || slot.scope == ONEBIT_RANK_LOCAL, what + "an unknown scope");
  require(slot.reshard >= ONEBIT_RESHARD_MEAN && slot.reshard <= ONEBIT_RESHARD_FIRST, what + "an unknown way to reshard");
  require(slot.role != ONEBIT_ROLE_ANCHOR || (slot.extent == ONEBIT_PER_ELEMENT && slot.scope == ONEBIT_REPLICATED),
          what + "an anchor is per element and replicated");
  require(slot.role <= ONEBIT_ROLE_ANCHOR, what + "an unknown role");
  require(!slot.narrow || slot.extent == ONEBIT_PER_ELEMENT, what + "bf16 is for state per element");
  require(!slot.later || (slot.extent == ONEBIT_PER_ELEMENT && slot.initial == 0 && slot.role == ONEBIT_ROLE_NONE),
          what + "what begins later is per element, of zeros, and no anchor");
}

// Protects from: a host that refuses the optimizer when a session starts, and checkpoints in which two states have one name.
inline void declares_sound_state(const MakeOptimizer& make) {
  const Traveller traveller(make);
  std::set<std::string> names;
  int anchors = 0;
  for (const TileSlot& slot : traveller.host.state.slots) {
    require_sound(slot);
    require(names.insert(slot.name).second, "state '" + slot.name + "' is declared twice");
    anchors += slot.role == ONEBIT_ROLE_ANCHOR ? 1 : 0;
  }
  require(anchors <= 1, "there are " + std::to_string(anchors) + " anchors, at most one is possible");
}

// Protects from: checkpoints that the next run can't read, for it declares something else.
inline void declares_the_same_again(const MakeOptimizer& make) {
  const Traveller one(make), other(make);
  const auto &first = one.host.state.slots, &second = other.host.state.slots;
  require(first.size() == second.size(), "one object declared " + std::to_string(first.size()) + " states, another " +
                                             std::to_string(second.size()) + ", for the same model and options");
  for (size_t s = 0; s < first.size(); ++s)
    require(first[s].name == second[s].name && first[s].extent == second[s].extent && first[s].count == second[s].count &&
                first[s].scope == second[s].scope && first[s].role == second[s].role,
            "slot " + std::to_string(s) + " is '" + first[s].name + "' of one object and '" + second[s].name +
                "' of another, or differs in kind");
}

}  // namespace onebit::conformance
