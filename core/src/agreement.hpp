// Agreement: the one all-gather of 32 bytes a rank that opens every step. Nothing is written before it: ranks that run another
// step, plan or configuration are told apart, and a gradient that is not finite anywhere stops the step everywhere.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "metered_communicator.hpp"

namespace onebit {

struct Ballot {  // what a rank says; 32 bytes on the wire
  int64_t step = 0;
  uint64_t hash = 0;   // of everything that must be equal
  uint32_t flags = 0;  // see below
  float largest = 0;   // magnitude in the local gradient, where a dense round wants to know
  double squares = 0;  // of the local gradient, when clipping
};
static_assert(sizeof(Ballot) == 32);

inline constexpr uint32_t ballot_not_finite = 1;    // this rank's gradient can't be used
inline constexpr uint32_t ballot_missed_local = 2;  // it skipped a local step since the last agreement, for that reason

class Agreement {
 public:
  explicit Agreement(MeteredCommunicator& communicator);

  // Collective. Answers every rank's ballot, in rank order; the slice lives until the next call.
  const std::vector<Ballot>& vote(const Ballot& own);

 private:
  MeteredCommunicator& communicator_;
  std::vector<Ballot> ballots_;
  std::vector<onebit_part> parts_;
};

// Throws Error(state_mismatch) naming both ranks unless all are at rank 0's step and hash. `what` was hashed.
void require_same(const std::vector<Ballot>& ballots, int own_rank, std::string_view what);

}  // namespace onebit
