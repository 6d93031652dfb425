// SPDX-License-Identifier: Apache-2.0
// How ranks arrive at operations, wait for them and leave them.
#include "world.hpp"

#include <thread>

#include "matching.hpp"
#include "work.hpp"

namespace onebit::threads {
namespace {

// Operations at first; the ring doubles when a rank runs further ahead.
constexpr size_t kInFlight = 16;
// Bytes: so much is moved by the last rank to arrive, at once, for waking the others to help costs more.
constexpr int64_t kCopyAtOnce = int64_t{1} << 15;
// About what it costs to sleep and be woken.
constexpr auto kSpin = std::chrono::microseconds(30);

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Seat::~Seat() {
  if (world_) world_->leave(rank_);
}

World::World(int ranks)
    : size_(ranks), joined_(static_cast<size_t>(ranks), false), next_(static_cast<size_t>(ranks), 1), ring_(kInFlight) {
  for (auto& slot : ring_) slot = std::make_unique<Operation>(this, ranks);
}

Seat World::join(int rank) {
  const Lock lock(mutex_);
  if (joined_[rank]) return {};
  joined_[rank] = true;
  if (++joined_count_ == size_) gathered_.notify_all();
  return {shared_from_this(), rank};
}

void World::gather(int rank, int64_t timeout_ns) {
  Lock lock(mutex_);
  const Deadline deadline(timeout_ns);
  while (joined_count_ < size_ && !failed_) {
    if (deadline.wait(gathered_, lock) || joined_count_ == size_ || failed_) continue;
    std::vector<int> missing;
    for (int other = 0; other < size_; ++other)
      if (!joined_[other]) missing.push_back(other);
    fail({Code::timeout, rank,
          "rank " + std::to_string(rank) + " waited " + seconds_text(timeout_ns) + " in create for " + ranks_text(missing) +
              ", which did not arrive" + raise_timeout});
  }
  if (joined_count_ < size_) raise(failure_, "create", rank);  // one that came and left again is a matter for later
}

// Operations keep their place in memory, for requests point into them.
void World::grow() {
  const size_t size = ring_.size();
  std::vector<std::unique_ptr<Operation>> larger(size * 2), fresh(size);
  for (auto& slot : fresh) slot = std::make_unique<Operation>(this, size_);
  for (size_t i = 0; i < size; ++i) {
    const uint64_t sequence = oldest_ + i;
    larger[sequence & (2 * size - 1)] = std::move(ring_[sequence & (size - 1)]);
    larger[(sequence + size) & (2 * size - 1)] = std::move(fresh[i]);
  }
  ring_.swap(larger);
}

Post& World::arrive(int rank, const Offer& offer) {
  const uint64_t sequence = next_[rank];
  while (sequence - oldest_ >= ring_.size()) grow();
  Operation& op = operation(sequence);
  if (sequence > newest_) {
    op.reset(sequence);
    op.first = rank;
    newest_ = sequence;
  }
  ++next_[rank];
  Post& post = op.posts[rank];
  post.offer = offer;
  post.arrived = post.open = true;
  ++op.arrived;
  return post;
}

Post* World::post(int rank, const Offer& offer) {
  Lock lock(mutex_);
  if (failed_) raise(failure_, title(offer.kind, next_[rank]), rank);
  Post& post = arrive(rank, offer);
  Operation& op = *post.operation;
  if (op.state != State::posting) return &post;
  std::string differs = mismatch(op, rank);
  if (!differs.empty()) {
    fail(op, {Code::state_mismatch, rank,
              differs + ": every rank must issue the same collectives, in the same order and with matching sizes"});
  } else if (op.arrived == size_) {
    make_ready(lock, op, rank);
  }
  return &post;
}

void World::make_ready(Lock& lock, Operation& op, int rank) {
  if (op.posts[rank].offer.kind == Kind::split) {
    try {
      divide(op);
    } catch (const std::bad_alloc&) {
      return fail(op, {Code::out_of_memory, rank, "out of memory"});
    }
  }
  const int64_t bytes = plan_work(op);
  op.state = op.remaining == 0 ? State::complete : State::ready;
  if (op.state == State::ready && bytes <= kCopyAtOnce) return help(lock, op.posts[rank]);
  op.changed.notify_all();
}

void World::refuse(int rank, Kind kind, const Error& why) {
  const Lock lock(mutex_);
  if (failed_) return;
  Offer nothing;
  nothing.kind = kind;
  Post& post = arrive(rank, nothing);
  Operation& op = *post.operation;
  if (op.state == State::posting)
    fail(op, {why.code(), rank, "the call of rank " + std::to_string(rank) + " was refused: " + why.what()});
  release(post);
}

void World::help(Lock& lock, Post& post) {
  Operation& op = *post.operation;
  post.helped = true;
  ++op.running;
  lock.unlock();
  const int64_t done = do_work(op, post.rank);
  lock.lock();
  --op.running;
  op.remaining -= done;
  if (op.remaining == 0 && op.state == State::ready) op.state = State::complete;
  if (op.settled()) op.changed.notify_all();
}

bool World::test(Post& post) {
  Lock lock(mutex_);
  check_held(post);
  Operation& op = *post.operation;
  if (op.state == State::ready && !post.helped) help(lock, post);
  if (op.state == State::posting && post.offer.timeout_ns > 0) {
    if (post.first_test == Clock::time_point{}) post.first_test = Clock::now();
    if (Deadline(post.first_test, post.offer.timeout_ns).passed()) time_out(post, post.offer.timeout_ns, post.offer.by_stall);
  }
  if (!op.settled()) return false;
  if (op.state == State::failed) raise(*op.failure, title(post.offer.kind, op.sequence), post.rank);
  return true;
}

Seat World::wait(Post& post, int64_t timeout_ns) {
  Lock lock(mutex_);
  check_held(post);
  Operation& op = *post.operation;
  const int64_t limit = timeout_ns < 0 ? post.offer.timeout_ns : timeout_ns;
  if (op.state == State::posting) spin(lock, op);
  const Deadline deadline(limit);
  while (!op.settled()) {
    if (op.state == State::ready && !post.helped) {
      help(lock, post);
      if (!op.settled()) spin(lock, op);
    } else if (op.state != State::posting) {
      op.changed.wait(lock);  // others are about to finish what they claimed
    } else if (!deadline.wait(op.changed, lock) && op.state == State::posting) {
      time_out(post, limit, timeout_ns < 0 && post.offer.by_stall);
    }
  }
  return take(post);
}

// Until the operation's state changes, for a while. Yielding lets a peer run that shares this core: 2 ranks on 2 busy cores
// took 3 us for a small all_gather instead of 65, 8 ranks 22 instead of 60 with sleep alone.
void World::spin(Lock& lock, const Operation& op) const {
  const State seen = op.state;
  lock.unlock();
  for (const auto end = Clock::now() + kSpin; op.state.load(std::memory_order_relaxed) == seen && Clock::now() < end;) {
    for (int i = 0; i < 16 && op.state.load(std::memory_order_relaxed) == seen; ++i) relax();
    std::this_thread::yield();
  }
  lock.lock();
}

// Gives the request back, or throws what became of it; after a timeout it stays the caller's, as the contract has it.
Seat World::take(Post& post) {
  Operation& op = *post.operation;
  if (op.state == State::complete) {
    Seat child = std::move(post.child);
    release(post);
    return child;
  }
  const Failure failure = *op.failure;  // the operation may be used again once it is released
  const std::string name = title(post.offer.kind, op.sequence);
  if (failure.code != Code::timeout) release(post);
  raise(failure, name, post.rank);
}

void World::release(Post& post) {
  post.open = false;
  ++post.operation->taken;
  retire();
}

void World::retire() {
  while (oldest_ <= newest_ && operation(oldest_).taken == size_) ++oldest_;
}

void World::leave(int rank) noexcept {
  Lock lock(mutex_);
  fail({Code::peer_failed, rank, {}});
  for (uint64_t s = oldest_; s < next_[rank]; ++s) {
    Operation& op = operation(s);
    op.changed.wait(lock, [&op] { return op.settled(); });
  }
}

}  // namespace onebit::threads
