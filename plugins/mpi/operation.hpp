// SPDX-License-Identifier: Apache-2.0
// One collective as this rank sees it: what it brings, what it has from each peer, and why it failed. In one or two phases; in
// each, every rank sends some bytes to every other.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "message.hpp"
#include "onebit/communicator.hpp"

namespace onebit::mpi {

using Clock = std::chrono::steady_clock;

// Why an operation, or a communicator, came to its end.
struct Failure {
  Code code = Code::internal;
  std::string text;
};

// Payload in one direction, piece after piece: a few are under way.
struct Flow {
  int64_t moved = 0, left = 0;  // bytes that MPI was asked to move, and those to come
  int32_t tag = 0;
  int under_way = 0;  // MPI requests
};

// What goes to and comes from one peer in the phase under way.
struct Pair {
  const char* send = nullptr;
  char* receive = nullptr;
  int64_t sends = 0, receives = 0;
  int32_t tag = 0;             // of the payload to the peer
  bool met = false;            // its post for this phase has come, and fits
  Flow sending, receiving;     // of payload that was not inline
  std::vector<Message> early;  // posts of a later phase
  int under_way() const { return sending.under_way + receiving.under_way; }
  bool finished() const { return met && under_way() == 0 && sending.left == 0 && receiving.left == 0; }
};

class Context;

// What a caller brings; pointers stay valid until the request is taken back.
struct Offer : CollectiveSignature {
  int64_t timeout_ns = -1;  // 0: no limit; < 0: the communicator's two
  int64_t bytes = 0;        // of a tensor
  const char* in = nullptr;
  char* out = nullptr;
  const Part* in_parts = nullptr;
  const Part* out_parts = nullptr;
};

struct Operation final : Request {
  Context* context = nullptr;
  uint64_t sequence = 0;
  Offer offer;
  int phase = 0, phases = 1;
  std::vector<Pair> pairs;     // by rank; the own one stays empty
  std::vector<char> gathered;  // all_reduce: the other ranks' elements
  Failure failure;
  bool failed = false;
  bool done = false;                         // nothing of it is under way, and nothing will be
  bool started = false;                      // the others know of it
  Clock::time_point posted{}, progressed{};  // progressed: when a peer came, or its bytes moved

  void reset();
  int under_way() const;
  bool finished() const;             // the phase, if nothing failed
  std::vector<int> missing() const;  // peers that keep this rank waiting
};

// "all_gather (operation 7)"
std::string title(const Operation& operation);
// "rank 2", "ranks 2, 3"
std::string ranks_text(const std::vector<int>& ranks);

// collectives.cpp: what the phases of each kind are.
// Decides on the number of phases.
void plan(Operation& operation, int ranks);
// Fills in the pairs of the phase under way.
void fill_pairs(Operation& operation, int rank, int ranks);
// What is left to do when all bytes of the phase have come; may take a while.
void finish_phase(Operation& operation, int rank, int ranks);
// all_gather: of every rank's bytes.
uint64_t parts_hash(const Operation& operation, int ranks);

// What is wrong with a peer's post; empty where it fits.
std::string mismatch(const Operation& operation, int rank, const Header& theirs, int peer, uint64_t parts);

}  // namespace onebit::mpi
