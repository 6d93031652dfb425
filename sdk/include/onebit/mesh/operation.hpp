// SPDX-License-Identifier: Apache-2.0
// One collective of a MeshCommunicator as this rank sees it: what it brings, what goes to and comes from each peer, and why it
// failed. In one or two phases; in each, every rank sends some bytes to every other.
//
// all_reduce, and broadcast, of much data go in two phases, so that no rank sends the whole more than twice: slice j belongs to
// rank j, which reduces it (or has it from the root) and then gives it to all.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "onebit/collectives/collective_signature.hpp"
#include "onebit/collectives/reduction.hpp"
#include "onebit/communicator.hpp"
#include "onebit/mesh/message.hpp"

namespace onebit::mesh {

using Clock = std::chrono::steady_clock;

// Why an operation, or a communicator, came to its end.
struct Failure {
  Code code = Code::internal;
  std::string text;
};

// What a caller brings; pointers stay valid until the request is taken back.
struct Offer : CollectiveSignature {
  int64_t timeout_ns = -1;  // 0: no limit; < 0: the communicator's two
  int64_t bytes = 0;        // of a tensor
  const char* in = nullptr;
  char* out = nullptr;
  const Part* in_parts = nullptr;
  const Part* out_parts = nullptr;
};

// What goes to and comes from one peer in the phase under way.
struct Pair {
  const char* send = nullptr;
  char* receive = nullptr;
  int64_t sends = 0, receives = 0;
  int64_t received = 0;
  bool met = false;      // its post for this phase has come, and fits
  bool sending = false;  // payload that was not inline
  bool finished() const { return met && !sending && received == receives; }
  // No pointer is formed where there is nothing to move, for buffers may be NULL then.
  void to_send(const char* base, int64_t offset, int64_t bytes) {
    sends = bytes;
    send = bytes == 0 ? nullptr : base + offset;
  }
  void to_receive(char* base, int64_t offset, int64_t bytes) {
    receives = bytes;
    receive = bytes == 0 ? nullptr : base + offset;
  }
};

struct Context;

class Operation final : public Request {
 public:
  void begin(Context& owner, uint64_t number, const Offer& what, int own_rank, int of_ranks);
  // What a rank brings for itself.
  void copy_own() const;
  // Fills in the pairs of the phase under way.
  void fill_pairs();
  // When all bytes of the phase have come: what is left to do, which may take a while.
  void finish_phase() {
    if (offer.kind == Collective::all_reduce && phase == 0) reduce_slice();
  }
  Pair& pair(int of) { return pairs[static_cast<size_t>(of)]; }
  const Pair& pair(int of) const { return pairs[static_cast<size_t>(of)]; }
  bool finished() const {
    return std::all_of(pairs.begin(), pairs.end(), [](const Pair& p) { return p.finished(); });
  }
  std::vector<int> missing() const;  // peers that keep this rank waiting
  uint64_t parts_hash() const;       // all_gather: of every rank's bytes
  // "all_gather (operation 7)"
  std::string title() const { return std::string(name_of(offer.kind)) + " (operation " + std::to_string(sequence) + ')'; }

  Context* context = nullptr;
  uint64_t sequence = 0;
  int rank = 0, ranks = 0;
  Offer offer;
  int phase = 0, phases = 1;
  std::vector<Pair> pairs;     // by rank; the own one stays empty
  std::vector<char> gathered;  // all_reduce: all ranks' elements
  Failure failure;
  bool failed = false;
  bool done = false;                         // nothing of it is under way, and nothing will be
  bool held = false;                         // the caller has not given it back
  bool awaited = false;                      // somebody is to be told when it is done
  Clock::time_point posted{}, progressed{};  // progressed: when a peer came, or its bytes moved

 private:
  struct Slice {
    int64_t begin, size;
  };
  // Elements or bytes that belong to a rank; 2^63 / ranks of them are out of reach.
  Slice slice(int64_t total, int of) const {
    if (phases == 1) return {0, total};
    return {total * of / ranks, total * (of + 1) / ranks - total * of / ranks};
  }
  void gather_pairs();
  void exchange_pairs();
  void reduce_pairs();
  void broadcast_pairs();
  void reduce_slice();
};

// "rank 2", "ranks 2, 3"
inline std::string ranks_text(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  return text;
}

inline void Operation::begin(Context& owner, uint64_t number, const Offer& what, int own_rank, int of_ranks) {
  context = &owner;
  sequence = number;
  offer = what;
  rank = own_rank;
  ranks = of_ranks;
  const bool halves = offer.kind == Collective::all_reduce || (offer.kind == Collective::broadcast && ranks > 2);
  phases = halves && offer.bytes > kInlineBytes ? 2 : 1;
  phase = 0;
  failed = done = awaited = false;
  held = true;
  posted = progressed = Clock::now();
  fill_pairs();
}

inline void Operation::copy_own() const {
  const bool gathers = offer.kind == Collective::all_gather || offer.kind == Collective::split;
  if (!gathers && offer.kind != Collective::all_to_all) return;
  const Part& to = offer.out_parts[rank];
  if (to.bytes == 0) return;
  const char* from = gathers ? offer.in : offer.in + offer.in_parts[rank].offset;
  if (offer.out + to.offset != from) std::memcpy(offer.out + to.offset, from, static_cast<size_t>(to.bytes));
}

inline std::vector<int> Operation::missing() const {
  std::vector<int> found;
  for (int peer = 0; peer < ranks; ++peer)
    if (!pair(peer).finished()) found.push_back(peer);
  return found;
}

inline uint64_t Operation::parts_hash() const {
  if (offer.kind != Collective::all_gather) return 0;
  uint64_t hash = 0xcbf29ce484222325U;
  for (int peer = 0; peer < ranks; ++peer) hash = (hash ^ static_cast<uint64_t>(offer.out_parts[peer].bytes)) * 0x100000001b3U;
  return hash;
}

inline void Operation::fill_pairs() {
  pairs.assign(static_cast<size_t>(ranks), Pair());
  switch (offer.kind) {
    case Collective::all_gather:
    case Collective::split:
      gather_pairs();
      break;
    case Collective::all_to_all:
      exchange_pairs();
      break;
    case Collective::all_reduce:
      reduce_pairs();
      break;
    case Collective::broadcast:
      broadcast_pairs();
      break;
    case Collective::barrier:
      break;
  }
  pair(rank) = Pair();
  pair(rank).met = true;
}

inline void Operation::gather_pairs() {
  for (int peer = 0; peer < ranks; ++peer) {
    pair(peer).to_send(offer.in, 0, offer.out_parts[rank].bytes);
    pair(peer).to_receive(offer.out, offer.out_parts[peer].offset, offer.out_parts[peer].bytes);
  }
}

inline void Operation::exchange_pairs() {
  for (int peer = 0; peer < ranks; ++peer) {
    pair(peer).to_send(offer.in, offer.in_parts[peer].offset, offer.in_parts[peer].bytes);
    pair(peer).to_receive(offer.out, offer.out_parts[peer].offset, offer.out_parts[peer].bytes);
  }
}

// Phase 0: the slices go to their owners (all of a small tensor goes to everybody); phase 1: they come back reduced.
inline void Operation::reduce_pairs() {
  const int64_t element = offer.count == 0 ? 0 : offer.bytes / offer.count;
  const Slice own = slice(offer.count, rank);
  const int64_t own_bytes = own.size * element;
  if (phase == 0) gathered.resize(static_cast<size_t>(own_bytes * ranks));
  for (int peer = 0; peer < ranks; ++peer) {
    const Slice theirs = slice(offer.count, peer);
    if (phase == 0) {
      pair(peer).to_send(offer.in, theirs.begin * element, theirs.size * element);
      pair(peer).to_receive(gathered.data(), peer * own_bytes, own_bytes);
    } else {
      pair(peer).to_send(offer.out, own.begin * element, own_bytes);
      pair(peer).to_receive(offer.out, theirs.begin * element, theirs.size * element);
    }
  }
}

// Phase 0: from the root, all of little data or everybody's slice; phase 1: slices from everybody to all but the root.
inline void Operation::broadcast_pairs() {
  for (int peer = 0; peer < ranks; ++peer) {
    const bool sends = phase == 0 ? rank == offer.root : peer != offer.root;
    const bool receives = phase == 0 ? peer == offer.root : rank != offer.root;
    const Slice sent = slice(offer.bytes, phase == 0 ? peer : rank), received = slice(offer.bytes, phase == 0 ? rank : peer);
    if (sends) pair(peer).to_send(offer.out, sent.begin, sent.size);
    if (receives) pair(peer).to_receive(offer.out, received.begin, received.size);
  }
}

inline void Operation::reduce_slice() {
  if (offer.count == 0) return;
  const int64_t element = offer.bytes / offer.count;
  const Slice own = slice(offer.count, rank);
  std::vector<const void*> in;
  for (int peer = 0; peer < ranks; ++peer)
    in.push_back(peer == rank ? offer.in + own.begin * element : gathered.data() + peer * own.size * element);
  void* out = offer.out + own.begin * element;
  reduce({offer.reduce, offer.dtype, in.data(), ranks, &out, 1}, 0, own.size);
}

}  // namespace onebit::mesh
