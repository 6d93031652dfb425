// SPDX-License-Identifier: Apache-2.0
// What must be the same on every rank of a collective, and the words for where it is not. For authors of communicators.
#pragma once

#include <cstdint>
#include <string>

#include "onebit/communicator.hpp"

namespace onebit {

enum class Collective : uint8_t { all_reduce, all_gather, all_to_all, broadcast, barrier, split };

inline const char* name_of(Collective kind) {
  static const char* const names[] = {"all_reduce", "all_gather", "all_to_all", "broadcast", "barrier", "split"};
  return names[static_cast<size_t>(kind)];
}

// The fields that a kind has no use for keep these values.
struct CollectiveSignature {
  Collective kind = Collective::barrier;
  ReduceOp reduce = ReduceOp::sum;
  onebit_dtype dtype = {0, 0, 0};
  int32_t root = 0;
  uint64_t tag = 0;
  int64_t count = 0;  // elements of a tensor
};

namespace detail {

inline const char* name_of(ReduceOp op) {
  static const char* const names[] = {"sum", "avg", "min", "max"};
  return op >= ReduceOp::sum && op <= ReduceOp::max ? names[static_cast<int>(op) - 1] : "unknown";
}

inline std::string name_of(onebit_dtype dtype) {
  static const char* const codes[] = {"int", "uint", "float", "opaque", "bfloat"};
  return std::string(dtype.code < 5 ? codes[dtype.code] : "type") + std::to_string(dtype.bits) +
         (dtype.lanes == 1 ? "" : 'x' + std::to_string(dtype.lanes));
}

inline bool same(onebit_dtype a, onebit_dtype b) { return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes; }

}  // namespace detail

// "rank 1 has tag 8 where rank 0 has tag 7"
inline std::string differs(const char* verb, int rank, const std::string& found, int other, const std::string& expected) {
  const auto who = [verb](int r) { return "rank " + std::to_string(r) + verb; };
  return who(rank) + found + " where " + who(other) + expected;
}

// Empty where both mean the same collective.
inline std::string mismatch(const CollectiveSignature& mine, int rank, const CollectiveSignature& theirs, int other) {
  const auto number = [](auto value) { return std::to_string(value); };
  if (mine.kind != theirs.kind) return differs(" calls ", rank, name_of(mine.kind), other, name_of(theirs.kind));
  if (mine.tag != theirs.tag) return differs(" has tag ", rank, number(mine.tag), other, number(theirs.tag));
  if (mine.root != theirs.root) return differs(" has root ", rank, number(mine.root), other, number(theirs.root));
  if (mine.reduce != theirs.reduce)
    return differs(" asks for ", rank, detail::name_of(mine.reduce), other, detail::name_of(theirs.reduce));
  if (!detail::same(mine.dtype, theirs.dtype))
    return differs(" has ", rank, detail::name_of(mine.dtype), other, detail::name_of(theirs.dtype));
  if (mine.count != theirs.count)
    return differs(" has a tensor of ", rank, number(mine.count) + " elements", other, number(theirs.count));
  return {};
}

// What a rank brings to one other: bytes to it and from it, and a hash of the sizes of all parts.
struct Traffic {
  int64_t sends, expects;
  uint64_t parts;
};

// Empty where what one sends is what the other expects.
inline std::string mismatch(Collective kind, const Traffic& mine, int rank, const Traffic& theirs, int peer) {
  const auto part = [](int64_t bytes, int of) {
    return std::to_string(bytes) + " bytes for the part of rank " + std::to_string(of);
  };
  const auto flow = [](int from, int64_t sent, int to, int64_t expected) {
    return "rank " + std::to_string(from) + " sends " + std::to_string(sent) + " bytes to rank " + std::to_string(to) +
           ", which expects " + std::to_string(expected);
  };
  const bool gather = kind == Collective::all_gather;
  if (theirs.sends != mine.expects)
    return gather ? differs(" has ", peer, part(theirs.sends, peer), rank, std::to_string(mine.expects))
                  : flow(peer, theirs.sends, rank, mine.expects);
  if (theirs.expects != mine.sends)
    return gather ? differs(" has ", peer, part(theirs.expects, rank), rank, std::to_string(mine.sends))
                  : flow(rank, mine.sends, peer, theirs.expects);
  if (theirs.parts != mine.parts)
    return "rank " + std::to_string(peer) + " has other sizes of parts than rank " + std::to_string(rank);
  return {};
}

}  // namespace onebit
