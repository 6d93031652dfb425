// SPDX-License-Identifier: Apache-2.0
// Operations: their words for failures, and how one is made ready to be used again.
#include "operation.hpp"

namespace onebit::threads {

std::string title(Kind kind, uint64_t sequence) {
  return std::string(name_of(kind)) + " (operation " + std::to_string(sequence) + ')';
}

std::string Failure::text() const {
  const std::string who = "rank " + std::to_string(rank);
  switch (code) {
    case Code::aborted:
      return "aborted by " + who + ": " + (reason.empty() ? "no reason given" : reason);
    case Code::peer_failed:
      return who + " has destroyed its communicator";
    default:
      return reason;
  }
}

Operation::Operation(const World* owner, int ranks)
    : world(owner),
      size(ranks),
      taken(ranks),
      posts(new Post[static_cast<size_t>(ranks)]),
      reduction_in(static_cast<size_t>(ranks)),
      reduction_out(static_cast<size_t>(ranks)) {
  for (int rank = 0; rank < ranks; ++rank) {
    posts[rank].operation = this;
    posts[rank].rank = rank;
  }
}

void Operation::reset(uint64_t number) {
  sequence = number;
  state = State::posting;
  first = arrived = taken = running = 0;
  remaining = 0;
  failure = nullptr;
  for (int rank = 0; rank < size; ++rank) {
    Post& post = posts[rank];
    post.claimed = 0;
    post.items = 0;
    post.arrived = post.open = post.helped = false;
    post.first_test = {};
  }
}

}  // namespace onebit::threads
