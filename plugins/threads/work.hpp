// SPDX-License-Identifier: Apache-2.0
// The work of an operation once all ranks have arrived: cut into items that any thread may claim, so that a rank which computes
// before it waits holds nobody up.
#pragma once

#include <cstdint>

#include "operation.hpp"

namespace onebit::threads {

// Cuts the work into items, by destination; answers how many bytes there are to move.
int64_t plan_work(Operation& operation);
// Claims and does items, those of `rank` first, until none is left or the operation has failed. Answers how many it did.
int64_t do_work(Operation& operation, int rank);

}  // namespace onebit::threads
