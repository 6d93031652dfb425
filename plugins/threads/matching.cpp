// SPDX-License-Identifier: Apache-2.0
// The comparison of what two ranks brought to one operation, field by field, each with its own words.
#include "matching.hpp"

namespace onebit::threads {
namespace {

std::string rank_text(int rank) { return "rank " + std::to_string(rank); }

std::string gather_mismatch(const Operation& operation, int rank) {
  const Part* mine = operation.posts[rank].offer.out_parts;
  const Part* theirs = operation.posts[operation.first].offer.out_parts;
  for (int source = 0; source < operation.size; ++source)
    if (mine[source].bytes != theirs[source].bytes)
      return differs(" has ", rank, std::to_string(mine[source].bytes) + " bytes for the part of " + rank_text(source),
                     operation.first, std::to_string(theirs[source].bytes));
  return {};
}

std::string flow_mismatch(const Operation& operation, int source, int destination) {
  const int64_t sent = operation.posts[source].offer.in_parts[destination].bytes;
  const int64_t expected = operation.posts[destination].offer.out_parts[source].bytes;
  if (sent == expected) return {};
  return rank_text(source) + " sends " + std::to_string(sent) + " bytes to " + rank_text(destination) + ", which expects " +
         std::to_string(expected);
}

std::string exchange_mismatch(const Operation& operation, int rank) {
  for (int other = 0; other < operation.size; ++other) {
    if (!operation.posts[other].arrived) continue;
    std::string found = flow_mismatch(operation, rank, other);
    if (found.empty()) found = flow_mismatch(operation, other, rank);
    if (!found.empty()) return found;
  }
  return {};
}

}  // namespace

std::string mismatch(const Operation& operation, int rank) {
  const Offer& mine = operation.posts[rank].offer;
  if (rank != operation.first) {
    std::string found = onebit::mismatch(mine, rank, operation.posts[operation.first].offer, operation.first);
    if (!found.empty()) return found;
    if (mine.kind == Kind::all_gather) return gather_mismatch(operation, rank);
  }
  if (mine.kind == Kind::all_to_all) return exchange_mismatch(operation, rank);
  return {};
}

}  // namespace onebit::threads
