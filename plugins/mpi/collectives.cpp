// SPDX-License-Identifier: Apache-2.0
// What each kind of collective sends to whom.
//
// all_reduce and broadcast of much data go in two phases, so that no rank sends the whole more than twice: slice j belongs to
// rank j, which reduces it (or has it from the root) and then gives it to all.
#include <algorithm>
#include <cstring>

#include "onebit/collectives/reduction.hpp"
#include "operation.hpp"

namespace onebit::mpi {
namespace {

// Elements (all_reduce) or bytes (broadcast) that belong to a rank.
struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};
Range slice(int64_t total, int rank, int ranks) {
  return {total * rank / ranks, total * (rank + 1) / ranks};  // 2^31 ranks or 2^63 / ranks elements are out of reach
}

// No pointer is formed where there is nothing to move, for buffers may be NULL then.
template <class Byte>
Byte* at(Byte* base, int64_t offset, int64_t bytes) {
  return bytes == 0 ? nullptr : base + offset;
}

void gather_pairs(Operation& op, int rank, int ranks) {
  const Offer& offer = op.offer;
  for (int peer = 0; peer < ranks; ++peer) {
    Pair& pair = op.pairs[static_cast<size_t>(peer)];
    pair.send = offer.in;
    pair.sends = offer.out_parts[rank].bytes;
    pair.receives = offer.out_parts[peer].bytes;
    pair.receive = at(offer.out, offer.out_parts[peer].offset, pair.receives);
  }
}

void exchange_pairs(Operation& op, int ranks) {
  const Offer& offer = op.offer;
  for (int peer = 0; peer < ranks; ++peer) {
    Pair& pair = op.pairs[static_cast<size_t>(peer)];
    pair.sends = offer.in_parts[peer].bytes;
    pair.send = at(offer.in, offer.in_parts[peer].offset, pair.sends);
    pair.receives = offer.out_parts[peer].bytes;
    pair.receive = at(offer.out, offer.out_parts[peer].offset, pair.receives);
  }
}

// Phase 0: the slices go to their owners (all of a small tensor goes to everybody); phase 1: they come back reduced.
void reduce_pairs(Operation& op, int rank, int ranks) {
  const Offer& offer = op.offer;
  const int64_t element = offer.count == 0 ? 0 : offer.bytes / offer.count;
  const auto of = [&](int r) { return op.phases == 1 ? Range{0, offer.count} : slice(offer.count, r, ranks); };
  const Range own = of(rank);
  if (op.phase == 0) op.gathered.resize(static_cast<size_t>(own.size() * element * ranks));
  for (int peer = 0; peer < ranks; ++peer) {
    Pair& pair = op.pairs[static_cast<size_t>(peer)];
    const Range theirs = of(peer);
    const Range &sent = op.phase == 0 ? theirs : own, &received = op.phase == 0 ? own : theirs;
    pair.sends = sent.size() * element;
    pair.send = at<const char>(op.phase == 0 ? offer.in : offer.out, sent.begin * element, pair.sends);
    pair.receives = received.size() * element;
    pair.receive = op.phase == 0 ? at(op.gathered.data(), peer * pair.receives, pair.receives)
                                 : at(offer.out, received.begin * element, pair.receives);
  }
}

// Phase 0: from the root, all of little data or everybody's slice; phase 1: slices from everybody to all but the root.
void broadcast_pairs(Operation& op, int rank, int ranks) {
  const Offer& offer = op.offer;
  const auto of = [&](int r) { return op.phases == 1 ? Range{0, offer.bytes} : slice(offer.bytes, r, ranks); };
  for (int peer = 0; peer < ranks; ++peer) {
    Pair& pair = op.pairs[static_cast<size_t>(peer)];
    const bool sends = op.phase == 0 ? rank == offer.root : peer != offer.root;
    const bool receives = op.phase == 0 ? peer == offer.root : rank != offer.root;
    const Range sent = of(op.phase == 0 ? peer : rank), received = of(op.phase == 0 ? rank : peer);
    pair.sends = sends ? sent.size() : 0;
    pair.send = at(offer.out, sent.begin, pair.sends);
    pair.receives = receives ? received.size() : 0;
    pair.receive = at(offer.out, received.begin, pair.receives);
  }
}

void reduce_slice(Operation& op, int rank, int ranks) {
  const Offer& offer = op.offer;
  if (offer.count == 0) return;
  const int64_t element = offer.bytes / offer.count;
  const Range own = op.phases == 1 ? Range{0, offer.count} : slice(offer.count, rank, ranks);
  std::vector<const void*> in;
  for (int peer = 0; peer < ranks; ++peer)
    in.push_back(peer == rank ? offer.in + own.begin * element : op.gathered.data() + peer * own.size() * element);
  void* out = offer.out + own.begin * element;
  reduce({offer.reduce, offer.dtype, in.data(), ranks, &out, 1}, 0, own.size());
}

}  // namespace

void plan(Operation& op, int ranks) {
  const bool reduces = op.offer.kind == Collective::all_reduce, broadcasts = op.offer.kind == Collective::broadcast;
  op.phases = (reduces && op.offer.bytes > kInlineBytes) || (broadcasts && op.offer.bytes > kInlineBytes && ranks > 2) ? 2 : 1;
}

void fill_pairs(Operation& op, int rank, int ranks) {
  op.pairs.resize(static_cast<size_t>(ranks));
  for (Pair& pair : op.pairs) {
    pair.met = false;
    pair.sending = pair.receiving = {};
    pair.sends = pair.receives = 0;
  }
  switch (op.offer.kind) {
    case Collective::all_gather:
    case Collective::split:
      gather_pairs(op, rank, ranks);
      break;
    case Collective::all_to_all:
      exchange_pairs(op, ranks);
      break;
    case Collective::all_reduce:
      reduce_pairs(op, rank, ranks);
      break;
    case Collective::broadcast:
      broadcast_pairs(op, rank, ranks);
      break;
    case Collective::barrier:
      break;
  }
  Pair& own = op.pairs[static_cast<size_t>(rank)];
  own.sends = own.receives = 0;
  own.met = true;
}

void finish_phase(Operation& op, int rank, int ranks) {
  if (op.offer.kind == Collective::all_reduce && op.phase == 0) reduce_slice(op, rank, ranks);
}

uint64_t parts_hash(const Operation& op, int ranks) {
  if (op.offer.kind != Collective::all_gather) return 0;
  uint64_t hash = 0xcbf29ce484222325U;
  for (int rank = 0; rank < ranks; ++rank)
    hash = (hash ^ static_cast<uint64_t>(op.offer.out_parts[rank].bytes)) * 0x100000001b3U;
  return hash;
}

}  // namespace onebit::mpi
