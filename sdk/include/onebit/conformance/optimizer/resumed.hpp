// SPDX-License-Identifier: Apache-2.0
// Cases of runs that are saved and go on elsewhere.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "onebit/conformance/optimizer/journey.hpp"

namespace onebit::conformance {

// Protects from: runs that go on differently from a checkpoint, for something was not in the declared state. After each step an
// object that knows nothing but the state takes over.
inline void all_state_is_declared(const MakeOptimizer& make) {
  Traveller one(make);
  auto other = std::make_unique<Traveller>(make);
  for (int64_t step = 1; step <= journey_steps; ++step) {
    one.step();
    other->step();
    const std::string found = difference(one.host, other->host);
    require(found.empty(), "an object that took the run over with its state at step " + std::to_string(step) +
                               " goes on with other bits than the one that was there all the time: " + found);
    auto heir = std::make_unique<Traveller>(make);
    heir->host.load(other->host.save());
    other = std::move(heir);
  }
}

// Fills what was released, but for exempt tensors.
inline void fill_released(TileHost& host, float value) {
  for (TileSlot& slot : host.state.slots)
    for (const Block& block : host.model.blocks)
      if (slot.released && slot.extent == ONEBIT_PER_ELEMENT && !host.model.is_dense(block.tensor))
        slot.fill(block.flat, block.count, value);
}

// Protects from: reading memory that the host has freed. Released state holds NaN in one run and zeros in another; in a third
// its base is NULL, as it is in a real host.
inline void released_state_is_not_read(const MakeOptimizer& make) {
  for (const std::vector<uint64_t>& flags : {std::vector<uint64_t>{0, 0, ONEBIT_TENSOR_DENSE}, std::vector<uint64_t>{}}) {
    Traveller one(make, flags), other(make, flags);
    std::string released;
    for (int64_t step = 1; step <= journey_steps; ++step) {
      for (const int32_t slot : one.step().releases()) released = one.host.state.slots[static_cast<size_t>(slot)].name;
      other.step();
      fill_released(other.host, 0);
      for (size_t t = 0; t < one.host.parameters.size(); ++t)
        require(same_bits(one.host.parameters[t], other.host.parameters[t]),
                "parameters depend on what is left in released state ('" + released + "'): after step " + std::to_string(step) +
                    ", " + first_difference(one.host.parameters[t], other.host.parameters[t]));
    }
    if (released.empty()) throw NotApplicable("no state was released in " + std::to_string(journey_steps) + " steps");
  }
  Traveller without(make);
  without.host.state.poison_released = false;
  for (int64_t step = 1; step <= journey_steps; ++step) without.step();
}

// Protects from: overflow and endless loops where the numbers of steps begin late, as in a run that is continued without state.
inline void starts_at_any_step(const MakeOptimizer& make) {
  for (const int64_t first : {int64_t{1}, int64_t{2}, int64_t{1000}, int64_t{1} << 40}) {
    Traveller traveller(make);
    traveller.host.number = first;
    for (int step = 0; step < 10; ++step) traveller.host.step(gradients_of(step));
    for (const Floats& tensor : traveller.host.parameters)
      for (const float p : tensor)
        require(std::isfinite(p),
                "started with step " + std::to_string(first) + ", a parameter is " + text_of(p) + " after 10 steps");
  }
}

}  // namespace onebit::conformance
