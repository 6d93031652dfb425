// SPDX-License-Identifier: Apache-2.0
// Rehearsal: an optimizer's plans, run ahead without gradients, to learn before training what it will ask for: a compressed
// stage (so a compressor must be there), which state it holds in which stage.
#pragma once

#include <cstdint>

#include "device/buffer.hpp"
#include "exchange/layout.hpp"
#include "exchange/state_store.hpp"
#include "onebit/configuration.hpp"
#include "onebit/optimizer.hpp"
#include "onebit/registry.hpp"

namespace onebit {

struct Rehearsal {
  int64_t first_compressed = 0;                    // step number; 0: none within the steps rehearsed
  uint64_t dense_state = 0, compressed_state = 0;  // bytes that are there, before and after the change
  uint64_t most_dense = 0, most_compressed = 0;    // the most before it, and from the first compressed step on
  uint64_t dense_local = 0, compressed_local = 0;  // of these, the ones of a rank alone
  bool has_anchor = false;                         // which is among what ranks have in common
  bool retains = false;                            // the compressed stage keeps its mean
};
// Uses the optimizer up: give it one made for this. It rehearses on a small model; bytes are those of the layout's model.
// whole: to where all state that begins later is there, and not only to the first compressed step.
Rehearsal rehearse(Optimizer& optimizer, const Layout& layout, bool whole);
// The configured one's. Throws Error(invalid_argument) where it has a compressed stage, and no compressor is configured.
Rehearsal rehearse(const Registry& registry, const Configuration& configuration, const Layout& layout, bool whole);

// The step at which the optimizer freezes its statistics whatever they are, if it is one of the first `most`, and of a million;
// else 0. Of two that were made alike, one sees statistics that do not change, and one such as never settle; both are used up.
int64_t rehearse_freeze(Optimizer& settled, Optimizer& unsettled, const Layout& layout, int64_t most);

// Rehearsals run on the CPU: an optimizer for another device is rehearsed by its twin there. NULL: it has none.
const ComponentInfo* rehearsed(const Registry& registry, const ComponentInfo& component);

}  // namespace onebit
