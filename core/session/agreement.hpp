// SPDX-License-Identifier: Apache-2.0
// Agreement: the one all-gather of 32 bytes a rank that opens every step. Nothing is written before it: ranks that run another
// step, plan or configuration are told apart, and a gradient that is not finite anywhere stops the step everywhere.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "device/verdict.hpp"
#include "exchange/metered_communicator.hpp"

namespace onebit {

class Agreement {
 public:
  // host: the same, for memory of the host.
  Agreement(MeteredCommunicator& communicator, Communicator& host);

  // Collective. Answers every rank's ballot, in rank order; the slice lives until the next call.
  const std::vector<Ballot>& vote(const Ballot& own);

 private:
  MeteredCommunicator& communicator_;
  Communicator& host_;
  std::vector<Ballot> ballots_;
  std::vector<onebit_part> parts_;
};

// Throws Error(state_mismatch) naming both ranks unless all are at rank 0's step and hash. `what` was hashed.
void require_same(const std::vector<Ballot>& ballots, int own_rank, std::string_view what);

}  // namespace onebit
