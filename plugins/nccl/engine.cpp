// SPDX-License-Identifier: Apache-2.0
// What the caller's thread does: post, wait, and the making and leaving of a communicator.
#include "engine.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "onebit/cuda.hpp"
#include "operation_title.hpp"

namespace onebit::nccl {
namespace {

constexpr size_t kMostKnown = 1 << 16;
constexpr int64_t kLongest = 1'000'000'000'000'000'000;  // ns, 30 years: the clock does not overflow

Clock::time_point after(int64_t ns) { return Clock::now() + std::chrono::nanoseconds(std::min(ns, kLongest)); }

// What rank 0 tells all when they meet, and what each has.
struct Greeting {
  int32_t version = 0;  // of NCCL
  UniqueId id{};
};

}  // namespace

Engine::Engine(const Library& library, Connection connection, const Limits& limits)
    : rank_(connection.rank),
      size_(connection.size),
      limits_(limits),
      library_(library),
      mover_(library, rank_, size_),
      hub_(std::move(connection.hub)),
      link_(std::move(connection.link)),
      hub_signs_(1, size_ > 1 ? limits.timeout_ns : 0, Clock::now()),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_ < 0) throw Error(Code::unavailable, std::string("create: eventfd: ") + std::strerror(errno), errno);
  watcher_ = std::thread([this] { run_watcher(); });
  issuer_ = std::thread([this] { run_issuer(); });
  try {
    if (size_ > 1) connect();
  } catch (...) {
    stop();
    throw;
  }
}

Engine::~Engine() {
  {
    Lock lock(mutex_);
    leave(lock);
  }
  stop();
}

// The hub ends when this rank's connection does, once it has told the others all there is to tell.
void Engine::stop() noexcept {
  {
    const Lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    wake();
  }
  watcher_.join();
  issuer_.join();
  link_.close();
  hub_.reset();
  ::close(wake_);
}

void Engine::connect() {
  Greeting greeting;
  greeting.version = library_.version;
  if (rank_ == 0) greeting.id = mover_.make_id();
  const std::vector<std::string> all =
      exchange(Collective::barrier, Call(), {reinterpret_cast<const char*>(&greeting), sizeof greeting});
  for (int other = size_; other-- > 0;) {
    if (all[static_cast<size_t>(other)].size() != sizeof greeting)
      throw Error(Code::state_mismatch, "create: rank " + std::to_string(other) + " has another version of this plugin");
    std::memcpy(&greeting, all[static_cast<size_t>(other)].data(), sizeof greeting);
    if (greeting.version != library_.version)
      throw Error(Code::state_mismatch, "create: rank " + std::to_string(other) + " has NCCL " +
                                            version_text(greeting.version) + ", rank " + std::to_string(rank_) + " has " +
                                            version_text(library_.version) + " (" + library_.file + "): all need the same");
  }
  const auto end = after(limits_.timeout_ns);
  try {
    mover_.connect(greeting.id, [&] {
      const Lock lock(mutex_);
      if (failure_) throw Error(failure_->code, failure_->why);
      if (Clock::now() >= end)
        throw Error(Code::timeout, "all ranks came, but NCCL has not connected them in time (communicator.timeout)");
    });
  } catch (const Error& e) {
    const Lock lock(mutex_);
    fail_here(e.code(), "NCCL could not connect rank " + std::to_string(rank_) + ": " + e.what());
    throw Error(e.code(), "create on rank " + std::to_string(rank_) + " of " + std::to_string(size_) + ": " + e.what(),
                e.native());
  }
  exchange(Collective::barrier, Call());
}

Operation& Engine::begin(Collective kind, const Call& call) {
  retire();
  if (free_.empty()) {  // the watcher may not have looked yet
    find_finished();
    retire();
  }
  if (free_.empty()) {
    all_.push_back(std::make_unique<Operation>(this));
    free_.push_back(all_.back().get());
    free_.reserve(all_.size());
    current_.reserve(all_.size());
  }
  Operation& operation = *free_.back();
  operation.reset(last_ + 1);
  operation.signature.kind = kind;
  operation.signature.tag = call.tag;
  const bool meeting = size_ > 1 && operation.sequence <= kCreateOperations;
  operation.limit = call.timeout_ns >= 0 ? Limit::call : meeting ? Limit::meeting : Limit::stall;
  operation.timeout_ns = call.timeout_ns >= 0 ? call.timeout_ns : meeting ? limits_.timeout_ns : limits_.stall_ns;
  if (failure_of(operation) != nullptr) raise(operation);
  free_.pop_back();
  current_.push_back(&operation);
  ++last_;
  return operation;
}

void Engine::tell(const Operation& operation, const Sizes& sizes, std::string_view blob) {
  Message message;
  message.type = Type::post;
  message.rank = rank_;
  message.sequence = operation.sequence;
  message.sizes = sizes.same;
  message.balance = sizes.balance;
  message.wants = operation.cleared ? 0 : 1;
  message.signature = operation.signature;
  link_.send(message, blob);
  if (asleep_ || link_.has_unsent()) wake();
}

// Without this the other ranks would wait for the call that this one can't make. NCCL may have it from them already, so that
// the communicator ends.
void Engine::refuse(const Operation& operation, const std::exception& why) {
  const auto* error = dynamic_cast<const Error*>(&why);
  fail_here(error != nullptr ? error->code() : Code::out_of_memory, title(operation.signature.kind, operation.sequence) +
                                                                        ": the call of rank " + std::to_string(rank_) +
                                                                        " was refused: " + why.what());
}

Operation& Engine::post(Collective kind, const Call& call, Fill fill) {
  const OnDevice on(device());
  Lock lock(mutex_);
  Operation& operation = begin(kind, call);
  operation.on_device = true;
  Sizes sizes;
  try {
    fill.call(fill.object, operation);
    operation.caller = cuda::stream_of(call.stream);
    operation.ready.record(operation.caller);
    sizes = sizes_of(operation, rank_);
  } catch (const std::exception& why) {
    operation.state = State::done;
    refuse(operation, why);
    throw;
  }
  operation.held = true;
  operation.cleared = size_ == 1 || known_.count(sizes.own) != 0;
  operation.own = sizes.own;
  if (size_ > 1) tell(operation, sizes, {});
  if (operation.cleared && !issuing_ && next_to_issue() == &operation) issue(lock, operation);
  return operation;
}

std::vector<std::string> Engine::exchange(Collective kind, const Call& call, std::string_view blob) {
  Lock lock(mutex_);
  Operation& operation = begin(kind, call);
  if (size_ == 1) {
    operation.state = State::done;
    return {std::string(blob)};
  }
  operation.held = true;
  tell(operation, {}, blob);
  limit(operation, -1);
  changed_.wait(lock, [&] { return operation.cleared || failure_of(operation) != nullptr; });
  operation.held = false;
  if (!operation.cleared) raise(operation);
  return std::move(operation.blobs);
}

void Engine::check_held(const Operation& operation) const {
  if (!operation.held)
    throw Error(Code::invalid_argument, "the request was given back already: wait may be called once for each");
}

// From now on, unless it was already told; a limit of its own, from 0 on, in any case.
void Engine::limit(Operation& operation, int64_t timeout_ns) {
  if (timeout_ns < 0 && operation.deadline != Operation::kNever) return;
  if (timeout_ns >= 0) {
    operation.timeout_ns = timeout_ns;
    operation.limit = Limit::call;
  }
  operation.deadline = operation.timeout_ns > 0 ? after(operation.timeout_ns) : Operation::kNever;
  operation.told_late = false;
  if (asleep_) wake();
}

bool Engine::test(Operation& operation) {
  Lock lock(mutex_);
  check_held(operation);
  limit(operation, -1);
  find_finished();
  if (operation.state == State::done) return true;
  if (failure_of(operation) == nullptr) return false;
  let_go(lock, operation);
  raise(operation);
}

void Engine::wait(Operation& operation, int64_t timeout_ns) {
  Lock lock(mutex_);
  check_held(operation);
  limit(operation, timeout_ns);
  changed_.wait(lock, [&] { return operation.state != State::waiting || failure_of(operation) != nullptr; });
  if (failure_) find_finished();
  if (failure_of(operation) != nullptr) {
    let_go(lock, operation);
    operation.held = failure_->code == Code::timeout;  // then it stays the caller's, as the contract has it
    raise(operation);
  }
  operation.finished.hold_up(operation.caller);
  operation.held = false;
}

// What has failed may still be in the stream's order, until NCCL is aborted: whoever frees its buffers in the order of the
// caller's stream does so after it.
void Engine::let_go(Lock& lock, const Operation& operation) {
  changed_.wait(lock, [this] { return !issuing_; });
  if (operation.state == State::issued) operation.finished.hold_up(operation.caller);
}

void Engine::abort(std::string_view reason) {
  const Lock lock(mutex_);
  fail_here(Code::aborted, "rank " + std::to_string(rank_) + " aborted: " + std::string(reason));
}

// Operations that are over, and not held any more, can be used again.
void Engine::retire() {
  const auto over = [](const Operation* operation) { return operation->state == State::done && !operation->held; };
  for (Operation* operation : current_)
    if (over(operation)) free_.push_back(operation);
  current_.erase(std::remove_if(current_.begin(), current_.end(), over), current_.end());
  if (known_.size() > kMostKnown) known_.clear();
}

const Failure* Engine::failure_of(const Operation& operation) const {
  return failure_ && operation.sequence > failure_->after && operation.state != State::done ? &*failure_ : nullptr;
}

void Engine::raise(const Operation& operation) const {
  const Failure& failure = *failure_;
  throw Error(failure.code, title(operation.signature.kind, operation.sequence) + " on rank " + std::to_string(rank_) + " of " +
                                std::to_string(size_) + ": " + failure.why);
}

// What the caller has waited for is finished first; what it has not is given up, and the other ranks are told.
void Engine::leave(Lock& lock) {
  const auto open = [this](const Operation* o) { return o->state != State::done && failure_of(*o) == nullptr; };
  const auto pending = [&] {
    find_finished();
    return std::any_of(current_.begin(), current_.end(), open);
  };
  const auto failed = [this] { return failure_ && failure_->after == 0; };
  find_finished();
  for (const Operation* operation : current_)
    if (operation->held && open(operation))
      fail_here(Code::peer_failed, "rank " + std::to_string(rank_) + " left before " +
                                       title(operation->signature.kind, operation->sequence) + " was finished");
  wake();
  changed_.wait(lock, [&] { return failed() || hub_is_gone_ || !pending(); });
  if (failed() || hub_is_gone_ || size_ == 1) return;
  Message bye;
  bye.type = Type::bye;
  bye.rank = rank_;
  bye.sequence = last_;
  link_.send(bye);
  wake();
  changed_.wait_for(lock, std::chrono::nanoseconds(limits_.timeout_ns), [&] { return quiet_ || hub_is_gone_ || failed(); });
}

}  // namespace onebit::nccl
