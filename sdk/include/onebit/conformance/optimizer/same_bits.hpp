// SPDX-License-Identifier: Apache-2.0
// Cases of calls that must come to the same bits.
#pragma once

#include <string>
#include <vector>

#include "onebit/conformance/optimizer/journey.hpp"

namespace onebit::conformance {

// Protects from: uninitialised memory, and random numbers that are not drawn from the step's number.
inline void same_calls_same_bits(const MakeOptimizer& make) {
  Traveller one(make), other(make);
  require_same_way(one, other, "two objects that were called alike differ", [&] { other.step(); });
}

// Protects from: arithmetic that depends on how the host cuts the model into tiles, which is another on every machine.
inline void any_tiling_same_bits(const MakeOptimizer& make) {
  const std::vector<std::vector<size_t>> tilings = {{1}, {1000}, {1, 3, 2}, {2}};
  for (size_t t = 0; t < tilings.size(); ++t) {
    Traveller one(make), other(make);
    other.host.tiling = tilings[t];
    other.host.backwards = t + 1 == tilings.size();
    const std::string how = other.host.backwards ? "the last tile first" : t == 1 ? "one tile" : "tiles of other sizes";
    require_same_way(one, other, "with " + how + " the result is another", [&] { other.step(); });
  }
}

// Protects from: tile calls that share something: members that they write, sums that they add up. For ThreadSanitizer, too.
inline void tiles_at_once_same_bits(const MakeOptimizer& make) {
  Traveller one(make), other(make);
  other.host.tiling = {1};
  require_same_way(one, other, "with tiles on several threads at once the result is another", [&] {
    other.host.threads = other.host.number % 5 == 0 ? 3 : 1;  // threads cost more than all the rest
    other.step();
  });
}

// Protects from: clipping and accumulation that an update does not know of, for it uses a gradient as it is.
inline void gradient_scale_everywhere(const MakeOptimizer& make) {
  Traveller one(make), other(make);
  other.host.gradient_scale = 0.5F;
  require_same_way(one, other, "gradients twice as large with gradient_scale 0.5 give another result", [&] {
    Tensors gradients = gradients_of(other.host.number);
    for (Floats& tensor : gradients)
      for (float& g : tensor) g *= 2;
    other.host.step(gradients);
  });
}

// Protects from: state outside of the declared slots that produce changes: hosts with wide scales call it twice.
inline void produces_the_same_twice(const MakeOptimizer& make) {
  Traveller one(make), other(make);
  other.host.around = [&](TileHost::Doing doing, const Tile* tile, const std::function<void()>& call) {
    call();
    if (doing != TileHost::Doing::produce) return;
    const Floats first = other.host.sent().values();
    call();
    require(same_bits(first, other.host.sent().values()),
            "called twice for a tile of " + std::to_string(tile->block_count) + " blocks in step " +
                std::to_string(other.host.number) +
                ", produce wrote another message: " + first_difference(first, other.host.sent().values()));
  };
  require_same_way(one, other, "calling produce twice changed what follows", [&] { other.step(); });
}

// Protects from: steps that are skipped, for a gradient on some rank was not finite, and leave something behind all the same.
inline void skipped_steps_leave_no_trace(const MakeOptimizer& make) {
  Traveller one(make), other(make);
  require_same_way(one, other, "a step that was planned, produced and then skipped left something behind", [&] {
    const Plan& plan = other.host.begin(gradients_of(other.host.number + 777));
    for (size_t r = 0; r < plan.rounds().size; ++r) other.host.send(static_cast<int>(r));
    other.step();
  });
}

}  // namespace onebit::conformance
