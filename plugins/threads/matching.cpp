// The comparison of what two ranks brought to one operation, field by field, each with its own words.
#include "matching.hpp"

namespace onebit::threads {
namespace {

std::string rank_text(int rank) { return "rank " + std::to_string(rank); }

const char* name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return "sum";
    case ReduceOp::avg:
      return "avg";
    case ReduceOp::min:
      return "min";
    case ReduceOp::max:
      return "max";
  }
  return "unknown";
}

std::string name_of(onebit_dtype dtype) {
  static const char* const codes[] = {"int", "uint", "float", "opaque", "bfloat"};
  return std::string(dtype.code < 5 ? codes[dtype.code] : "type") + std::to_string(dtype.bits) +
         (dtype.lanes == 1 ? "" : 'x' + std::to_string(dtype.lanes));
}

bool same(onebit_dtype a, onebit_dtype b) { return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes; }

// "rank 1 has tag 8 where rank 0 has tag 7"
std::string differs(const char* verb, int rank, const std::string& found, int other, const std::string& expected) {
  return rank_text(rank) + verb + found + " where " + rank_text(other) + verb + expected;
}

std::string header_mismatch(const Offer& mine, int rank, const Offer& theirs, int other) {
  if (mine.kind != theirs.kind) return differs(" calls ", rank, name_of(mine.kind), other, name_of(theirs.kind));
  const auto number = [](auto value) { return std::to_string(value); };
  if (mine.tag != theirs.tag) return differs(" has tag ", rank, number(mine.tag), other, number(theirs.tag));
  if (mine.root != theirs.root) return differs(" has root ", rank, number(mine.root), other, number(theirs.root));
  if (mine.reduce != theirs.reduce) return differs(" asks for ", rank, name_of(mine.reduce), other, name_of(theirs.reduce));
  if (!same(mine.dtype, theirs.dtype)) return differs(" has ", rank, name_of(mine.dtype), other, name_of(theirs.dtype));
  if (mine.count != theirs.count)
    return differs(" has a tensor of ", rank, number(mine.count) + " elements", other, number(theirs.count));
  return {};
}

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
    std::string found = header_mismatch(mine, rank, operation.posts[operation.first].offer, operation.first);
    if (!found.empty()) return found;
    if (mine.kind == Kind::all_gather) return gather_mismatch(operation, rank);
  }
  if (mine.kind == Kind::all_to_all) return exchange_mismatch(operation, rank);
  return {};
}

}  // namespace onebit::threads
