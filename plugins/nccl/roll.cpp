// SPDX-License-Identifier: Apache-2.0
// Rows of operations in a ring that grows with how far a rank runs ahead, and what is wrong in them in words.
#include "roll.hpp"

#include <cstring>

namespace onebit::nccl {
namespace {

constexpr size_t kRows = 64;  // at first

void clear(Row& row, uint64_t sequence) {
  row.sequence = sequence;
  row.first = -1;
  row.came = row.explained = 0;
  row.sizes_differ = false;
  row.sizes = row.balance = 0;
  for (Entry& entry : row.entries) {
    entry.came = entry.wants = entry.explained = false;
    entry.blob.clear();
  }
}

std::string rank_text(int rank) { return "rank " + std::to_string(rank); }

std::string gather_disagreement(const Row& row, int ranks) {
  for (int rank = 0; rank < ranks; ++rank)
    for (int source = 0; source < ranks; ++source) {
      const auto at = [&](int r) { return row.entries[static_cast<size_t>(r)].expected[static_cast<size_t>(source)]; };
      if (at(rank) != at(row.first))
        return differs(" has ", rank, std::to_string(at(rank)) + " bytes for the part of " + rank_text(source), row.first,
                       std::to_string(at(row.first)));
    }
  return {};
}

std::string exchange_disagreement(const Row& row, int ranks) {
  for (int source = 0; source < ranks; ++source)
    for (int destination = 0; destination < ranks; ++destination) {
      const int64_t sent = row.entries[static_cast<size_t>(source)].sent[static_cast<size_t>(destination)];
      const int64_t expected = row.entries[static_cast<size_t>(destination)].expected[static_cast<size_t>(source)];
      if (sent != expected)
        return rank_text(source) + " sends " + std::to_string(sent) + " bytes to " + rank_text(destination) +
               ", which expects " + std::to_string(expected);
    }
  return {};
}

}  // namespace

Roll::Roll(int ranks) : ranks_(ranks), next_(static_cast<size_t>(ranks), 1), ring_(kRows) {
  for (auto& slot : ring_) slot = std::make_unique<Row>(), slot->entries.resize(static_cast<size_t>(ranks));
}

void Roll::grow() {
  std::vector<std::unique_ptr<Row>> larger(ring_.size() * 2);
  for (auto& slot : ring_) {
    const uint64_t sequence = slot->sequence;
    if (sequence > 0) larger[sequence & (larger.size() - 1)] = std::move(slot);
  }
  for (auto& slot : larger)
    if (!slot) slot = std::make_unique<Row>(), slot->entries.resize(static_cast<size_t>(ranks_));
  ring_.swap(larger);
}

Row& Roll::come(int rank, const Message& post, std::string_view blob, std::string& differs) {
  const uint64_t sequence = next_[static_cast<size_t>(rank)]++;
  while (sequence >= oldest() && sequence - oldest() >= ring_.size()) grow();
  Row& found = row(sequence);
  if (found.sequence != sequence) clear(found, sequence);
  if (found.first < 0) {
    found.first = rank;
    found.signature = post.signature;
    found.sizes = post.sizes;
  }
  Entry& entry = found.entries[static_cast<size_t>(rank)];
  entry.came = true;
  entry.wants = post.wants != 0;
  entry.blob.assign(blob);
  ++found.came;
  found.sizes_differ = found.sizes_differ || post.sizes != found.sizes;
  found.balance += post.balance;
  differs = mismatch(post.signature, rank, found.signature, found.first);
  return found;
}

Row* Roll::find(uint64_t sequence) {
  Row& found = row(sequence);
  return sequence > 0 && found.sequence == sequence ? &found : nullptr;
}

void Roll::explain(Row& row, int rank, std::string_view sizes) const {
  Entry& entry = row.entries[static_cast<size_t>(rank)];
  if (entry.explained) return;
  entry.explained = true;
  ++row.explained;
  const auto n = static_cast<size_t>(ranks_);
  entry.sent.assign(n, 0);
  entry.expected.assign(n, 0);
  if (sizes.size() != 2 * n * sizeof(int64_t)) return;
  std::memcpy(entry.sent.data(), sizes.data(), n * sizeof(int64_t));
  std::memcpy(entry.expected.data(), sizes.data() + n * sizeof(int64_t), n * sizeof(int64_t));
}

std::string Roll::disagreement(const Row& row) const {
  std::string found = row.signature.kind == Collective::all_gather   ? gather_disagreement(row, ranks_)
                      : row.signature.kind == Collective::all_to_all ? exchange_disagreement(row, ranks_)
                                                                     : std::string();
  return found.empty() ? "the ranks do not have the same sizes" : found;
}

std::vector<int> Roll::missing(uint64_t sequence) const {
  std::vector<int> found;
  for (int rank = 0; rank < ranks_; ++rank)
    if (next(rank) <= sequence) found.push_back(rank);
  return found;
}

std::string ranks_text(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  return text;
}

}  // namespace onebit::nccl
