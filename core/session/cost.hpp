// SPDX-License-Identifier: Apache-2.0
// What a layout and the optimizer's rehearsed plans cost: bytes of state a parameter, bytes a rank sends a step.
#pragma once

#include "exchange/layout.hpp"
#include "exchange/machines.hpp"
#include "onebit/compressor.hpp"
#include "onebit/session.hpp"
#include "session/rehearsal.hpp"

namespace onebit {

// ahead_bytes: of dense means that wait where steps begin ahead of their gradients; -1: none does.
Cost price(const Layout& layout, const Rehearsal& plans, const Compressor* compressor, const Place& place, int64_t ahead_bytes,
           WireType error_type);

}  // namespace onebit
