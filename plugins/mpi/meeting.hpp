// SPDX-License-Identifier: Apache-2.0
// Which MPI communicator the ranks meet on.
#pragma once

#include <mpi.h>

#include "onebit/communicator.hpp"

namespace onebit::mpi {

// Starts MPI where that is needed. Answers a communicator of its own, so that messages are nobody else's; returns when all
// ranks have called it.
MPI_Comm meet(const Rendezvous& rendezvous, int64_t timeout_ns);

}  // namespace onebit::mpi
