// SPDX-License-Identifier: Apache-2.0
// The world: what the ranks of one communicator share. A rank posts what it brings to its next collective; the rank that
// arrives last makes the operation ready; from then on whoever waits (or tests) does what is left of the copying, for
// everybody.
//
// Threads.  One mutex guards all but the claiming of work. Copying is done outside of it, counted in Operation::running: an
//   operation that failed lets nobody go before running is 0, so no buffer is touched after its owner has left wait.
// Memory.  Operations live in a ring that grows with the number in flight, and are used again: nothing is allocated in a step.
// Life.      Ranks are threads of one process, which live and die together: a rank that does not come is late, not dead.
// Failures.  A mismatch or a refused call ends one operation, for every rank. abort, a rank that leaves, or a timeout ends the
//   world: every operation that is not complete, and all later calls. The first failure stays.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "onebit/collectives/limits.hpp"
#include "operation.hpp"

namespace onebit::threads {

// A point in time, or none.
class Deadline {
 public:
  explicit Deadline(int64_t timeout_ns) : Deadline(Clock::now(), timeout_ns) {}
  Deadline(Clock::time_point start, int64_t timeout_ns)
      : limited_(timeout_ns > 0), at_(start + std::chrono::nanoseconds(limited_ ? std::min(timeout_ns, kLongest) : 0)) {}
  bool passed() const { return limited_ && Clock::now() >= at_; }
  // Answers false once the deadline has passed.
  bool wait(std::condition_variable& changed, std::unique_lock<std::mutex>& lock) const {
    if (limited_) return changed.wait_until(lock, at_) == std::cv_status::no_timeout;
    changed.wait(lock);
    return true;
  }

 private:
  static constexpr int64_t kLongest = 1'000'000'000'000'000'000;  // 30 years: the clock does not overflow
  bool limited_;
  Clock::time_point at_;
};

class World : public std::enable_shared_from_this<World> {
 public:
  explicit World(int ranks);
  int size() const { return size_; }

  // Takes a rank's seat: an empty one when it is taken already.
  Seat join(int rank);
  // Waits until every seat is taken.
  void gather(int rank, int64_t timeout_ns);

  Post* post(int rank, const Offer& offer);
  // The rank's next call is one that it can't make: the others must not wait for it.
  void refuse(int rank, Kind kind, const Error& why);
  bool test(Post& post);
  // Answers the seat that split made.
  Seat wait(Post& post, int64_t timeout_ns);
  void abort(int rank, std::string_view reason);
  void leave(int rank) noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;

  Operation& operation(uint64_t sequence) { return *ring_[sequence & (ring_.size() - 1)]; }
  void grow();
  Post& arrive(int rank, const Offer& offer);
  void make_ready(Lock& lock, Operation& operation, int rank);
  void help(Lock& lock, Post& post);
  void spin(Lock& lock, const Operation& operation) const;
  Seat take(Post& post);
  void release(Post& post);
  void retire();
  void check_held(const Post& post) const;

  void fail(Operation& operation, Failure failure) noexcept;
  void fail(Failure failure) noexcept;
  void time_out(const Post& post, int64_t timeout_ns, bool by_stall);
  [[noreturn]] void raise(const Failure& failure, const std::string& title, int rank) const;

  const int size_;
  std::mutex mutex_;
  std::condition_variable gathered_;
  std::vector<bool> joined_;
  int joined_count_ = 0;
  std::vector<uint64_t> next_;  // by rank: the number of its next operation; the first is 1
  uint64_t oldest_ = 1;         // the oldest operation that some rank is not through with
  uint64_t newest_ = 0;
  std::vector<std::unique_ptr<Operation>> ring_;  // a power of two
  bool failed_ = false;
  Failure failure_;
};

// "rank 2", "ranks 2, 3"
std::string ranks_text(const std::vector<int>& ranks);

// split.cpp: gives every post of a split its seat in the world of its color.
void divide(Operation& operation);

}  // namespace onebit::threads
