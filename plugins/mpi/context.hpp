// SPDX-License-Identifier: Apache-2.0
// What this rank knows of one communicator: who belongs to it, what is under way on it, and why it can't go on. Communicators
// made by split are contexts of their own on the same MPI communicator: their messages carry a number that tells them apart.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "operation.hpp"

namespace onebit::mpi {

class Context {
 public:
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  // peers: the rank of each of its ranks in the MPI communicator.
  Context(uint64_t number, int own_rank, std::vector<int> mpi_ranks)
      : id(number), rank(own_rank), peers(std::move(mpi_ranks)), left(peers.size(), kNever) {}
  int size() const { return static_cast<int>(peers.size()); }
  int peer(int of) const { return peers[static_cast<size_t>(of)]; }

  Operation* find(uint64_t sequence) const {
    const auto found = open.find(sequence);
    return found == open.end() ? nullptr : found->second;
  }
  // Whoever has gone before this collective; -1 when nobody has.
  int gone_before(uint64_t sequence) const {
    for (int r = 0; r < size(); ++r)
      if (sequence >= left[static_cast<size_t>(r)]) return r;
    return -1;
  }
  bool all_gone() const {
    for (int r = 0; r < size(); ++r)
      if (r != rank && left[static_cast<size_t>(r)] == kNever) return false;
    return true;
  }

  const uint64_t id;
  const int rank;
  const std::vector<int> peers;
  uint64_t next = 1;                               // the number of its next collective
  uint64_t started = 0;                            // the last one that the peers know of
  std::map<uint64_t, Operation*> open;             // by number, not done
  std::map<uint64_t, std::vector<Message>> early;  // for collectives that this rank has not come to
  std::vector<uint64_t> left;                      // by rank: from which collective on it is gone
  std::optional<Failure> failure;
  bool has_left = false;  // this rank has said goodbye, after which it says nothing
};

}  // namespace onebit::mpi
