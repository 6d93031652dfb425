// SPDX-License-Identifier: Apache-2.0
// Which bytes go from which rank to which, piece by piece.
#include "work.hpp"

#include <algorithm>
#include <cstring>

#include "onebit/collectives/reduction.hpp"

namespace onebit::threads {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20;     // of one copy: large against a claim, small against a bucket
constexpr int64_t kPieceElements = int64_t{1} << 16;  // of one reduction

int64_t pieces(int64_t total, int64_t piece) { return (total + piece - 1) / piece; }

// What goes from one rank to another; no pointer is formed where there is nothing to move, for buffers may be NULL then.
struct Flow {
  const char* from = nullptr;
  char* to = nullptr;
  int64_t bytes = 0;
};

Flow gather_flow(const Post& source, const Post& destination) {
  const Part& part = destination.offer.out_parts[source.rank];
  if (part.bytes == 0) return {};
  char* to = destination.offer.out + part.offset;
  return to == source.offer.in ? Flow{} : Flow{source.offer.in, to, part.bytes};
}

Flow exchange_flow(const Post& source, const Post& destination) {
  const Part& sent = source.offer.in_parts[destination.rank];
  if (sent.bytes == 0) return {};
  return {source.offer.in + sent.offset, destination.offer.out + destination.offer.out_parts[source.rank].offset, sent.bytes};
}

Flow broadcast_flow(const Post& source, const Post& destination) {
  if (source.rank != destination.offer.root || destination.rank == destination.offer.root) return {};
  return {source.offer.in, destination.offer.out, destination.offer.bytes};
}

Flow flow(const Post& source, const Post& destination) {
  switch (destination.offer.kind) {
    case Kind::all_gather:
      return gather_flow(source, destination);
    case Kind::all_to_all:
      return exchange_flow(source, destination);
    case Kind::broadcast:
      return broadcast_flow(source, destination);
    default:
      return {};
  }
}

// Items are numbered source by source, each cut into as many pieces as the largest source needs; the ranks' own bytes come last
// and each destination starts with another source, so that ranks don't all read from the same one.
int64_t plan_copies(Operation& operation, Post& destination) {
  int64_t largest = 0, total = 0;
  for (int source = 0; source < operation.size; ++source) {
    const int64_t bytes = flow(operation.posts[source], destination).bytes;
    largest = std::max(largest, bytes);
    total += bytes;
  }
  destination.items = operation.size * pieces(largest, kPieceBytes);
  return total;
}

void copy(const Operation& operation, const Post& destination, int64_t item) {
  const int64_t per_source = destination.items / operation.size;
  const int source = static_cast<int>((destination.rank + 1 + item / per_source) % operation.size);
  const Flow whole = flow(operation.posts[source], destination);
  const int64_t first = item % per_source * kPieceBytes;
  if (first < whole.bytes)
    std::memcpy(whole.to + first, whole.from + first, static_cast<size_t>(std::min(kPieceBytes, whole.bytes - first)));
}

// Each rank begins with a share of its own of the pieces.
int64_t share(const Operation& operation) {
  return pieces(pieces(operation.posts[0].offer.count, kPieceElements), operation.size);
}

void reduce_piece(const Operation& operation, const Post& destination, int64_t item) {
  const int64_t count = operation.posts[0].offer.count;
  const int64_t first = (destination.rank * share(operation) + item) * kPieceElements;
  if (first >= count) return;
  const Offer& one = operation.posts[0].offer;
  const Reduction reduction = {
      one.reduce, one.dtype, operation.reduction_in.data(), operation.size, operation.reduction_out.data(), operation.size};
  reduce(reduction, first, std::min(kPieceElements, count - first));
}

}  // namespace

int64_t plan_work(Operation& operation) {
  int64_t bytes = 0;
  operation.remaining = 0;
  for (int rank = 0; rank < operation.size; ++rank) {
    Post& post = operation.posts[rank];
    if (post.offer.kind == Kind::all_reduce) {
      operation.reduction_in[static_cast<size_t>(rank)] = post.offer.in;
      operation.reduction_out[static_cast<size_t>(rank)] = post.offer.out;
      post.items = share(operation);
      bytes += post.offer.bytes;
    } else {
      bytes += plan_copies(operation, post);
    }
    operation.remaining += post.items;
  }
  return bytes;
}

int64_t do_work(Operation& operation, int rank) {
  int64_t done = 0;
  for (int i = 0; i < operation.size; ++i) {
    Post& destination = operation.posts[(rank + i) % operation.size];
    while (operation.state.load(std::memory_order_relaxed) == State::ready &&
           destination.claimed.load(std::memory_order_relaxed) < destination.items) {
      const int64_t item = destination.claimed.fetch_add(1, std::memory_order_relaxed);
      if (item >= destination.items) break;
      if (destination.offer.kind == Kind::all_reduce) {
        reduce_piece(operation, destination, item);
      } else {
        copy(operation, destination, item);
      }
      ++done;
    }
  }
  return done;
}

}  // namespace onebit::threads
