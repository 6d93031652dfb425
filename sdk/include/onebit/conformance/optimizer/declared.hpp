// Cases of what an optimizer declares.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "onebit/conformance/tile_host.hpp"

namespace onebit::conformance {

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>()>;

// Protects from: a host that refuses the optimizer when a session starts, and checkpoints in which two states have one name.
inline void declares_sound_state(const MakeOptimizer& make) {
  const auto optimizer = make();
  const TileHost host(*optimizer, {Floats(10, 1.0F)});
  std::set<std::string> names;
  for (const TileSlot& slot : host.state.slots)
    require(names.insert(slot.name).second, "state '" + slot.name + "' is declared twice");
}

}  // namespace onebit::conformance
