// SPDX-License-Identifier: Apache-2.0
// Operations: their state, their words, and the comparison of what two ranks brought.
#include "operation.hpp"

#include <numeric>

namespace onebit::mpi {

void Operation::reset() {
  phase = 0;
  phases = 1;
  failed = done = started = false;
  failure = {};
  offer = {};
}

int Operation::under_way() const {
  return std::accumulate(pairs.begin(), pairs.end(), 0, [](int sum, const Pair& pair) { return sum + pair.under_way(); });
}

bool Operation::finished() const { return missing().empty(); }

std::vector<int> Operation::missing() const {
  std::vector<int> ranks;
  for (size_t rank = 0; rank < pairs.size(); ++rank)
    if (!pairs[rank].finished()) ranks.push_back(static_cast<int>(rank));
  return ranks;
}

std::string title(const Operation& operation) {
  return std::string(name_of(operation.offer.kind)) + " (operation " + std::to_string(operation.sequence) + ')';
}

std::string ranks_text(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  return text;
}

std::string mismatch(const Operation& operation, int rank, const Header& theirs, int peer, uint64_t parts) {
  const std::string signature = onebit::mismatch(theirs.signature, peer, operation.offer, rank);
  if (!signature.empty()) return signature;
  const Pair& pair = operation.pairs[static_cast<size_t>(peer)];
  return onebit::mismatch(operation.offer.kind, {pair.sends, pair.receives, parts}, rank,
                          {theirs.sends, theirs.expects, theirs.parts}, peer);
}

}  // namespace onebit::mpi
