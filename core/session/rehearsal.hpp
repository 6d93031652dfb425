// SPDX-License-Identifier: Apache-2.0
// Rehearsal: an optimizer's plans, run ahead without gradients, to learn before training what it will ask for: a compressed
// stage (so a compressor must be there), which state it holds in which stage.
#pragma once

#include <cstdint>

#include "device/buffer.hpp"
#include "exchange/layout.hpp"
#include "exchange/state_store.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

struct Rehearsal {
  int64_t first_compressed = 0;                    // step number; 0: none within the steps rehearsed
  uint64_t dense_state = 0, compressed_state = 0;  // bytes declared and not released, before and after the change
  uint64_t dense_local = 0, compressed_local = 0;  // of these, the ones of a rank alone
  bool has_anchor = false;                         // which is among what ranks have in common
  bool retains = false;                            // the compressed stage keeps its mean
};
// Uses the optimizer up: give it one made for this. It rehearses on a small model; bytes are those of the layout's model.
Rehearsal rehearse(Optimizer& optimizer, const Layout& layout);

}  // namespace onebit
