// SPDX-License-Identifier: Apache-2.0
// Do the ranks mean the same collective? Asked each time a rank arrives, so that a mismatch is told at once.
#pragma once

#include <string>

#include "operation.hpp"

namespace onebit::threads {

// What differs between what `rank` brought and what the ranks before it brought; "" when they match.
std::string mismatch(const Operation& operation, int rank);

}  // namespace onebit::threads
