// SPDX-License-Identifier: Apache-2.0
// One collective as all ranks of a world see it: what each rank brought to it, how far its copying is, and why it failed.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "onebit/collectives/collective_signature.hpp"
#include "onebit/communicator.hpp"
#include "seat.hpp"

namespace onebit::threads {

using Clock = std::chrono::steady_clock;

using Kind = Collective;

// What one rank brings to a collective; the fields that its kind has no use for keep these values.
struct Offer : CollectiveSignature {
  int64_t timeout_ns = 0;  // resolved: 0 is no limit
  bool by_stall = false;   // it is the communicator's
  int64_t bytes = 0;       // of a tensor
  const char* in = nullptr;
  char* out = nullptr;
  const Part* in_parts = nullptr;
  const Part* out_parts = nullptr;
  int color = -1;
  int key = 0;
};

// Why an operation, or the whole world, came to its end. reason stays empty where code and rank say it all.
struct Failure {
  Code code = Code::internal;
  int rank = -1;
  std::string reason;
  std::string text() const;
};

struct Operation;

// One rank's place in an operation, and the request that the rank holds. A cache line of its own: claims are contended.
struct alignas(64) Post final : Request {
  std::atomic<int64_t> claimed{0};  // items of `items` that somebody has begun
  int64_t items = 0;                // of work whose destination is this rank
  Operation* operation = nullptr;
  int rank = 0;
  bool arrived = false;
  bool open = false;    // the rank holds the request
  bool helped = false;  // the rank found nothing left to claim
  Clock::time_point first_test{};
  Offer offer;
  Seat child;  // what split made for this rank
};

// posting: some rank has not arrived.  ready: all have, the work is claimed item by item.  complete, failed: final.
enum class State : uint8_t { posting, ready, complete, failed };

// Everything but the claims is guarded by the world's mutex; `state` is atomic so that a waiting rank can spin on it.
struct Operation {
  Operation(const World* owner, int ranks);
  void reset(uint64_t number);
  bool settled() const { return state == State::complete || (state == State::failed && running == 0); }

  const World* const world;
  const int size;
  uint64_t sequence = 0;
  std::atomic<State> state{State::complete};
  int first = 0;    // the rank that arrived first: what it brought is what the others are compared with
  int arrived = 0;  // ranks
  int taken = 0;    // ranks that are through with it
  int running = 0;  // threads that are copying now
  int64_t remaining = 0;
  const Failure* failure = nullptr;  // own, or the world's
  Failure own;
  std::condition_variable changed;
  std::unique_ptr<Post[]> posts;
  std::vector<const void*> reduction_in;  // by rank, of all_reduce
  std::vector<void*> reduction_out;
};

// "all_gather (operation 7)"
std::string title(Kind kind, uint64_t sequence);

}  // namespace onebit::threads
