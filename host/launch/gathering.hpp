// SPDX-License-Identifier: Apache-2.0
// What ranks tell each other besides their steps. Collective, all of it: every rank calls the same with the same sizes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "onebit/communicator.hpp"

namespace onebit::host {

// Sums each value over all ranks, on all of them.
void sum_over_ranks(Communicator& communicator, std::vector<double>& values);

// Every rank's number, in the order of the ranks, on all of them.
std::vector<uint64_t> numbers_of_ranks(Communicator& communicator, uint64_t own);

// Rank 0's text, on all of them.
std::string text_of_first(Communicator& communicator, const std::string& own);

// Throws Error(state_mismatch) on a rank whose lines are not those of rank 0, with the first one that differs. what: they tell.
void require_same_lines(Communicator& communicator, const std::string& own, const std::string& what);

// The values of rank `from`, which is not 0, become those of rank 0.
void send_to_first(Communicator& communicator, int from, std::vector<float>& values);

}  // namespace onebit::host
