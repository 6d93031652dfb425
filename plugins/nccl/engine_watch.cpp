// SPDX-License-Identifier: Apache-2.0
// The watcher: what the hub says, what the device has finished, what takes too long, and the end of it all.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "engine.hpp"
#include "operation_title.hpp"

namespace onebit::nccl {
namespace {

using namespace std::chrono_literals;

constexpr int kLook = 2;               // ms, while a device works
constexpr auto kLookForErrors = 20ms;  // between questions to NCCL
constexpr auto kGrace = 2s;            // for the hub to say who is missing
constexpr auto kAbortGrace = 200ms;    // for a thread to come back from NCCL before NCCL is aborted under it
constexpr auto kLastWords = 1s;        // for the network to take what is left to say

}  // namespace

void Engine::run_watcher() {
  Lock lock(mutex_);
  while (!stopping_) {
    look_after(lock);
    if (!stopping_) listen(lock);
  }
  if (failure_ && !ended_) end_nccl(lock);  // a thread may be in it, for a rank that never comes
  const auto end = Clock::now() + kLastWords;
  while (link_.has_unsent() && !hub_is_gone_ && Clock::now() < end) {
    link_.flush();
    lock.unlock();
    std::this_thread::sleep_for(1ms);
    lock.lock();
  }
}

void Engine::look_after(Lock& lock) {
  find_finished();
  look_for_silence();
  look_at_limits();
  if (patience() == kLook && Clock::now() >= next_look_) {
    next_look_ = Clock::now() + kLookForErrors;
    if (const std::optional<Error> error = mover_.asynchronous_error(); error && !ended_)
      fail_here(error->code(), "rank " + std::to_string(rank_) + ": " + error->what());
  }
  if (must_end()) end_nccl(lock);
  report_done();
}

// In their order on the communicator's stream, so the first that is not finished ends the search.
void Engine::find_finished() {
  bool changed = false;
  for (Operation* operation : current_) {
    if (operation->state == State::done) continue;
    if (operation->state != State::issued) break;
    try {
      if (!operation->finished.passed()) break;
    } catch (const Error& e) {
      fail_here(e.code(),
                title(operation->signature.kind, operation->sequence) + " on rank " + std::to_string(rank_) + ": " + e.what());
      break;
    }
    // What NCCL was aborted in looks finished to the stream.
    if (ended_ && failure_of(*operation) != nullptr) break;
    operation->state = State::done;
    changed = true;
  }
  const auto open = std::find_if(current_.begin(), current_.end(), [](const Operation* o) { return o->state != State::done; });
  done_ = open == current_.end() ? last_ : (*open)->sequence - 1;
  if (changed) changed_.notify_all();
}

void Engine::look_for_silence() {
  const auto now = Clock::now();
  if (size_ == 1 || hub_is_gone_) return;
  hub_signs_.look(now);
  if (rank_ != 0 && hub_signs_.silent(0))
    fail_here(Code::timeout, "rank " + std::to_string(rank_) + ' ' + silence_text("rank 0", limits_.timeout_ns));
  if (!hub_signs_.due(now) || link_.has_unsent()) return;
  Message beat;
  beat.type = Type::beat;
  beat.rank = rank_;
  link_.send(beat);
}

void Engine::look_at_limits() {
  const auto now = Clock::now();
  for (Operation* operation : current_) {
    if (operation->state == State::done || now < operation->deadline) continue;
    if (failure_of(*operation) != nullptr) return;
    const std::string waited =
        seconds_text(operation->timeout_ns) + " in " + title(operation->signature.kind, operation->sequence);
    if (operation->told_late || size_ == 1 || hub_is_gone_)
      return fail_here(Code::timeout, "rank " + std::to_string(rank_) + " waited " + waited +
                                          (size_ == 1 ? "" : ", and rank 0 does not say for whom") + advice(operation->limit));
    operation->told_late = true;
    operation->deadline = now + kGrace;
    Message late;
    late.type = Type::late;
    late.rank = rank_;
    late.sequence = operation->sequence;
    late.code = static_cast<int32_t>(operation->limit);
    link_.send(late, waited);
    return;
  }
}

// How long to wait for the hub's next word before there is something else to look at, in ms.
int Engine::patience() const {
  auto soonest = hub_signs_.next(Clock::now());
  for (const Operation* operation : current_) {
    if (failure_of(*operation) != nullptr) break;  // and all after it
    if (operation->state == State::issued) return kLook;
    if (operation->state == State::waiting) soonest = std::min(soonest, operation->deadline);
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(soonest - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left + 1, 1, 10'000));
}

void Engine::listen(Lock& lock) {
  const bool has_hub = size_ > 1 && !hub_is_gone_;
  pollfd polled[2] = {{wake_, POLLIN, 0},
                      {has_hub ? link_.fd() : -1, static_cast<short>(POLLIN | (link_.has_unsent() ? POLLOUT : 0)), 0}};
  const int limit = patience();
  asleep_ = limit != kLook;
  lock.unlock();
  ::poll(polled, 2, limit);
  lock.lock();
  asleep_ = false;
  if (polled[0].revents != 0) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = ::read(wake_, &count, sizeof count);
  }
  if ((polled[1].revents & POLLOUT) != 0) link_.flush();
  if ((polled[1].revents & ~POLLOUT) == 0) return;
  const bool alive = link_.receive();
  hub_signs_.hear(0, Clock::now());
  Message message;
  std::string_view body;
  while (link_.next(message, body)) hear(message, body);
  if (!alive || !link_.sane()) lose_hub();
}

void Engine::lose_hub() {
  hub_is_gone_ = true;
  if (!hub_has_left_)
    fail({Code::peer_failed, 0, "rank 0 is gone: its connection to rank " + std::to_string(rank_) + " was closed"});
  changed_.notify_all();
}

void Engine::hear(const Message& message, std::string_view body) {
  switch (message.type) {
    case Type::go:
      return clear(message.sequence, body);
    case Type::explain:
      return explain(message.sequence);
    case Type::left:
      asked_ = std::max(asked_, message.sequence);
      hub_has_left_ = hub_has_left_ || message.rank == 0;
      return fail({Code::peer_failed, message.sequence, "rank " + std::to_string(message.rank) + " has left"});
    case Type::quiet:
      quiet_ = true;
      return changed_.notify_all();
    case Type::failure:
      return fail({static_cast<Code>(message.code), 0, std::string(body)});
    default:
      return;
  }
}

void Engine::clear(uint64_t sequence, std::string_view blobs) {
  const auto found =
      std::find_if(current_.begin(), current_.end(), [&](const Operation* o) { return o->sequence == sequence; });
  if (found == current_.end()) return;
  Operation& operation = **found;
  operation.cleared = true;
  if (operation.on_device) {
    known_.insert(operation.own);
  } else {
    operation.state = State::done;
    for (uint32_t size = 0; blobs.size() >= sizeof size; blobs.remove_prefix(size)) {
      std::memcpy(&size, blobs.data(), sizeof size);
      blobs.remove_prefix(sizeof size);
      size = static_cast<uint32_t>(std::min<size_t>(size, blobs.size()));
      operation.blobs.emplace_back(blobs.substr(0, size));
    }
  }
  changed_.notify_all();
}

void Engine::explain(uint64_t sequence) {
  Message parts;
  parts.type = Type::parts;
  parts.rank = rank_;
  parts.sequence = sequence;
  const auto found =
      std::find_if(current_.begin(), current_.end(), [&](const Operation* o) { return o->sequence == sequence; });
  link_.send(parts, found == current_.end() ? std::string() : sizes_text(**found, size_));
}

void Engine::report_done() {
  if (asked_ <= reported_ || done_ < asked_) return;
  reported_ = done_;
  Message done;
  done.type = Type::done;
  done.rank = rank_;
  done.sequence = done_;
  link_.send(done);
}

// The first failure stays, unless it lets operations finish and the new one does not.
void Engine::fail(Failure failure) {
  if (failure_ && failure_->after <= failure.after) return;
  failure_ = std::move(failure);
  changed_.notify_all();
  wake();
}

void Engine::fail_here(Code code, const std::string& why) {
  if (failure_ && failure_->after == 0) return;
  fail({code, 0, why});
  Message message;
  message.type = Type::failure;
  message.rank = rank_;
  message.code = static_cast<int32_t>(code);
  link_.send(message, why);
}

// When a rank has left in peace, what it was part of is finished first, and it is no end where nothing more was begun.
bool Engine::must_end() const {
  if (!failure_ || ended_) return false;
  if (failure_->after == 0) return true;
  const auto open = [](const Operation* operation) { return operation->state != State::done; };
  const auto first = std::find_if(current_.begin(), current_.end(), open);
  return first != current_.end() && (*first)->sequence > failure_->after;
}

void Engine::end_nccl(Lock& lock) {
  changed_.wait_for(lock, kAbortGrace, [this] { return !issuing_; });
  ended_ = true;
  lock.unlock();
  mover_.abort();
  lock.lock();
}

void Engine::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_, &one, sizeof one);
}

}  // namespace onebit::nccl
