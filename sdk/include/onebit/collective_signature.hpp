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

}  // namespace onebit
