// SPDX-License-Identifier: Apache-2.0
// The roll of a communicator, kept by rank 0: which rank has come to which operation, what it brought, and whether all mean the
// same. No sockets and no threads here: hub.hpp has them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "message.hpp"

namespace onebit::nccl {

// What one rank brought to an operation.
struct Entry {
  bool came = false;
  bool wants = false;      // to be told when all have come
  bool explained = false;  // has sent its sizes
  std::string blob;
  std::vector<int64_t> sent, expected;  // bytes to and from each rank
};

struct Row {
  uint64_t sequence = 0;
  int first = -1;  // the rank that came first
  int came = 0;
  int explained = 0;
  bool sizes_differ = false;
  uint64_t sizes = 0;
  uint64_t balance = 0;
  CollectiveSignature signature{};
  std::vector<Entry> entries;  // by rank
};

class Roll {
 public:
  explicit Roll(int ranks);
  int ranks() const { return ranks_; }

  // The rank comes to its next operation. Answers the row; `differs` is what it means otherwise than the first to come, if so.
  Row& come(int rank, const Message& post, std::string_view blob, std::string& differs);
  // The number of the next operation that the rank has not come to.
  uint64_t next(int rank) const { return next_[static_cast<size_t>(rank)]; }
  // The oldest operation that some rank has not come to.
  uint64_t oldest() const { return *std::min_element(next_.begin(), next_.end()); }
  bool complete(const Row& row) const { return row.came == ranks_; }
  // Whether sizes must be explained before anything can be said.
  static bool matches(const Row& row) { return !row.sizes_differ && row.balance == 0; }

  // NULL where all are through with it, or nobody has come to it.
  Row* find(uint64_t sequence);
  void explain(Row& row, int rank, std::string_view sizes) const;
  // What the sizes of all ranks have against each other.
  std::string disagreement(const Row& row) const;
  // Those that have not come to an operation.
  std::vector<int> missing(uint64_t sequence) const;

 private:
  Row& row(uint64_t sequence) { return *ring_[sequence & (ring_.size() - 1)]; }
  void grow();

  int ranks_;
  std::vector<uint64_t> next_;              // by rank; the first operation is 1
  std::vector<std::unique_ptr<Row>> ring_;  // a power of two: all that some rank has come to and another has not, and more
};

// "rank 2", "ranks 2, 3"
std::string ranks_text(const std::vector<int>& ranks);

}  // namespace onebit::nccl
