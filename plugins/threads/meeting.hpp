// SPDX-License-Identifier: Apache-2.0
// Where the ranks of one process find the world they share, before they have it.
#pragma once

#include "onebit/communicator.hpp"
#include "seat.hpp"

namespace onebit::threads {

// Returns when every rank of the rendezvous has called it; throws Code::timeout that names the missing ranks.
Seat meet(const Rendezvous& rendezvous, int64_t timeout_ns);

}  // namespace onebit::threads
