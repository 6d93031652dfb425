// SPDX-License-Identifier: Apache-2.0
// One communicator as this rank knows it: who belongs to it, what is under way on it, and why it can't go on. Communicators
// made by split share the streams of their mesh: their messages carry a number that tells them apart.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "onebit/mesh/message.hpp"
#include "onebit/mesh/operation.hpp"

namespace onebit::mesh {

struct Context {
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  Context(uint64_t number, int own_rank, std::vector<int> of)
      : id(number), rank(own_rank), peers(std::move(of)), left(peers.size(), kNever) {}
  int size() const { return static_cast<int>(peers.size()); }
  int peer(int of) const { return peers[static_cast<size_t>(of)]; }
  int rank_of(int peer) const {
    const auto found = std::find(peers.begin(), peers.end(), peer);
    return found == peers.end() ? -1 : static_cast<int>(found - peers.begin());
  }
  Operation* find(uint64_t sequence) const {
    const auto found = open.find(sequence);
    return found == open.end() ? nullptr : found->second;
  }
  // Whoever has left before this collective; -1 when nobody has.
  int left_before(uint64_t sequence) const {
    for (int r = 0; r < size(); ++r)
      if (sequence >= left[static_cast<size_t>(r)]) return r;
    return -1;
  }
  bool all_left() const {
    for (int r = 0; r < size(); ++r)
      if (r != rank && left[static_cast<size_t>(r)] == kNever) return false;
    return true;
  }

  const uint64_t id;
  const int rank;
  const std::vector<int> peers;                    // the Mesh's number of each of its ranks
  uint64_t next = 1;                               // the number of its next collective
  std::map<uint64_t, Operation*> open;             // by number, not done
  std::map<uint64_t, std::vector<Message>> early;  // for collectives that this rank has not come to, or phases of them
  std::vector<uint64_t> left;                      // by rank: from which collective on it is gone
  std::optional<Failure> failure;
  bool closed = false;  // destroyed here; kept until nobody sends anything for it
};

}  // namespace onebit::mesh
