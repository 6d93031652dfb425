// SPDX-License-Identifier: Apache-2.0
// Cases of split, and of the communicators it makes.
#pragma once

#include "onebit/conformance/communicator/bytes.hpp"

namespace onebit::conformance {

// Odd and even ranks apart, in reverse order; rank 0 of four or more goes without.
inline void split_odd_even(Rank& self) {
  const int me = self->rank(), ranks = self->size();
  const bool out = ranks >= 4 && me == 0;
  Rank half = self->split(out ? -1 : me % 2, -me);
  require((half == nullptr) == out, "split with a negative color must give no communicator, and others one");
  if (half) {
    int above = 0, members = 0;
    for (int rank = ranks >= 4 ? 1 : 0; rank < ranks; ++rank) {
      members += rank % 2 == me % 2;
      above += rank % 2 == me % 2 && rank > me;
    }
    require(half->size() == members && half->rank() == above, "split gave another rank or size");
    Vector<int32_t> io({1, me});
    finish(half, half->all_reduce(io.tensor, io.tensor, ReduceOp::max, Call()));
    require(io.values[1] % 2 == me % 2, "split mixed the colors");
    Vector<int32_t> root({me});
    finish(half, half->broadcast(root.tensor, 0, Call()));
    require(root.values[0] == io.values[1], "split did not order by key");
  }
  check_exchange(self, uneven);
}

inline void split_nested(Rank& self) {
  Rank same = self->split(3, 0);
  require(same->rank() == self->rank() && same->size() == self->size(), "equal keys must keep the order of ranks");
  Rank half = same->split(same->rank() / 2, 0);
  Rank single = half->split(half->rank(), 0);
  require(single != nullptr && single->size() == 1 && single->rank() == 0,
          "a color of its own must give a communicator of 1 rank");
  same.reset();
  check_exchange(half, uneven);
  check_gather(
      single, [](int) { return int64_t{9}; }, false);
  half.reset();
  check_exchange(self, uneven);
}

}  // namespace onebit::conformance
