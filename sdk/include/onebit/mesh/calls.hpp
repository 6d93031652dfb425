// SPDX-License-Identifier: Apache-2.0
// The engine as its callers see it: posting, waiting, giving up.
#pragma once

#include <utility>

#include "onebit/mesh/drive.hpp"
#include "onebit/mesh/engine.hpp"

namespace onebit::mesh {

inline Engine::Engine(std::unique_ptr<Mesh> mesh, const Services& services, const Limits& limits)
    : mesh_(std::move(mesh)),
      services_(services),
      limits_(limits),
      signs_(static_cast<size_t>(mesh_->size()), limits.timeout_ns, Clock::now()) {
  const auto ranks = static_cast<size_t>(mesh_->size());
  wires_.resize(ranks);
  watches_.resize(ranks, {false, false});
  heard_.resize(ranks);
  for (int peer = 0; peer < mesh_->size(); ++peer)
    if (peer != mesh_->rank()) wires_[static_cast<size_t>(peer)].connect(*mesh_, *this, peer);
  if (ranks > 1) thread_ = std::thread([this] { run(); });
}

inline Engine::~Engine() {
  {
    Lock lock(mutex_);
    const auto deadline = Clock::now() + kFarewell;
    while (busy() && Clock::now() < deadline) {
      if (driven_) {
        changed_.wait_until(lock, deadline);
      } else {
        drive(lock, deadline, {}, [this] { return !busy(); });
      }
    }
    stop_ = true;
    if (sleeping_) mesh_->wake();
  }
  parked_.notify_all();
  if (thread_.joinable()) thread_.join();
}

inline Context& Engine::open(uint64_t id, int rank, std::vector<int> peers) {
  Lock lock(mutex_);
  auto& context = contexts_[id] = std::make_unique<Context>(id, rank, std::move(peers));
  if (const auto found = unknown_.find(id); found != unknown_.end()) {
    const std::vector<Message> messages = std::move(found->second);
    unknown_.erase(found);
    for (const Message& message : messages) handle(*context, message);
  }
  for (int r = 0; r < context->size(); ++r)
    if (r != rank && !wire(*context, r).alive())
      end(*context, {Code::peer_failed, "rank " + std::to_string(r) + " is gone"}, true);
  nudge(lock);
  return *context;
}

inline void Engine::close(Context& context) noexcept {
  Lock lock(mutex_);
  Header header;
  header.type = MessageType::leave;
  header.sequence = context.open.empty() ? context.next : context.open.begin()->first;
  header.code = context.failure ? static_cast<uint64_t>(context.failure->code) : 0;
  const std::string why = context.failure ? context.failure->text : "";
  end(context, {Code::aborted, "the communicator was destroyed"}, false);
  while (!context.open.empty()) {  // of the one whose memory is in use
    context.open.begin()->second->awaited = true;
    changed_.wait(lock);
  }
  tell_all(context, header, why);
  context.closed = true;
  retire(context);
  nudge(lock);
}

inline Operation& Engine::take_spare() {
  if (spare_.empty()) spare_.push_back(operations_.emplace_back(std::make_unique<Operation>()).get());
  Operation& operation = *spare_.back();
  spare_.pop_back();
  return operation;
}

inline Operation& Engine::post(Context& context, const Offer& offer) {
  Lock lock(mutex_);
  const std::string name = name_of(offer.kind);
  if (context.failure) throw Error(context.failure->code, name + ": " + context.failure->text);
  if (const int gone = context.left_before(context.next); gone >= 0) {
    const Error why(Code::peer_failed, "rank " + std::to_string(gone) + " has destroyed its communicator");
    pass(lock, context, why.code(), why.what());
    throw Error(why.code(), name + ": " + why.what());
  }
  Operation& operation = take_spare();
  operation.begin(context, context.next, offer, context.rank, context.size());
  ++context.next;
  ++open_operations_;
  context.open[operation.sequence] = &operation;
  if (context.size() == 1) {
    operation.finish_phase();
    complete(operation);
  } else {
    announce(operation);
    hear_early(operation);
    moved_.push_back(&operation);
    nudge(lock);
  }
  lock.unlock();
  operation.copy_own();  // while the others' parts are on their way; nobody waits for it before this returns
  return operation;
}

inline void Engine::refuse(Context& context, Collective kind, const Error& why) {
  Lock lock(mutex_);
  if (context.failure) return;
  pass(lock, context, why.code(),
       "rank " + std::to_string(context.rank) + " can't make its call of " + name_of(kind) + ": " + why.what());
}

// This rank's next collective fails without it.
inline void Engine::pass(Lock& lock, Context& context, Code code, const std::string& text) {
  Header header;
  header.type = MessageType::fail;
  header.code = static_cast<uint64_t>(code);
  header.sequence = context.next++;
  context.early.erase(header.sequence);
  tell_all(context, header, text);
  nudge(lock);
}

inline void Engine::tell_all(const Context& context, Header header, const std::string& text) {
  header.context = context.id;
  header.origin = context.rank;
  for (int r = 0; r < context.size(); ++r)
    if (r != context.rank && (header.type == MessageType::leave || context.left[static_cast<size_t>(r)] == Context::kNever))
      wire(context, r).tell(header, text.data(), std::min(text.size(), static_cast<size_t>(kInlineBytes)));
}

// The communicator's end.
inline void Engine::end(Context& context, Failure failure, bool tell) {
  if (context.failure) return;
  context.failure = std::move(failure);
  const std::map<uint64_t, Operation*> open = context.open;
  for (const auto& entry : open) fail(*entry.second, *context.failure, false);
  if (!tell) return;
  Header header;
  header.type = MessageType::abort;
  header.code = static_cast<uint64_t>(context.failure->code);
  tell_all(context, header, context.failure->text);
}

// What was told goes at once: by this thread, unless another drives.
inline void Engine::nudge(Lock& lock) {
  if (driven_) {
    if (sleeping_) mesh_->wake();
  } else {
    bool once = false;
    drive(lock, Clock::time_point::min(), {}, [&once] { return std::exchange(once, true); });
  }
}

inline void Engine::abort(Context& context, std::string_view reason) {
  Lock lock(mutex_);
  const std::string why = reason.empty() ? "no reason given" : std::string(reason);
  end(context, {Code::aborted, "aborted by rank " + std::to_string(context.rank) + ": " + why}, true);
  nudge(lock);
}

inline bool Engine::test(Operation& operation) {
  Lock lock(mutex_);
  check_held(operation);
  if (!operation.done && !driven_) nudge(lock);
  if (!operation.done && !operation.failed)
    if (const Lateness late = lateness(operation, operation.posted, operation.offer.timeout_ns); !late.why.empty())
      time_out(lock, operation, late.why);
  if (operation.done && operation.failed)
    throw Error(operation.failure.code, operation.title() + ": " + operation.failure.text);
  return operation.done;
}

// A rank is late when nothing moved between it and this one, on any communicator of this engine, for the whole time.
inline Clock::time_point Engine::last_sign(const Operation& operation) const {
  Clock::time_point last{};
  for (const int rank : operation.missing()) last = std::max(last, heard_[static_cast<size_t>(operation.context->peer(rank))]);
  return last;
}

inline Lateness Engine::lateness(const Operation& operation, Clock::time_point start, int64_t limit) const {
  const auto now = Clock::now();
  const std::vector<int> missing = operation.missing();
  if (limit >= 0) return lateness_by_call(ranks_text(missing), std::max(start, last_sign(operation)), limit, now);
  return lateness_by_limits(
      limits_, signs_, missing, [&](int rank) { return static_cast<size_t>(operation.context->peer(rank)); },
      [&](int rank) { return operation.pair(rank).met; }, ranks_text, std::max(start, operation.progressed), now);
}

inline void Engine::wait(Operation& operation, int64_t timeout_ns) {
  Lock lock(mutex_);
  check_held(operation);
  const int64_t limit = timeout_ns < 0 ? operation.offer.timeout_ns : timeout_ns;
  const Clock::time_point start = Clock::now();
  while (!operation.done) {
    const Lateness late = operation.failed ? Lateness{"", later(start, longest_wait_ns)} : lateness(operation, start, limit);
    if (!late.why.empty()) {
      time_out(lock, operation, late.why);
    } else if (driven_) {
      operation.awaited = true;
      changed_.wait_until(lock, late.ask_again);
    } else {
      drive(lock, late.ask_again, kSpin, [&operation] { return operation.done; });
    }
  }
  const bool failed = operation.failed;
  const Failure failure = failed ? operation.failure : Failure();
  const std::string name = failed ? operation.title() : std::string();
  if (!failed || failure.code != Code::timeout) {
    operation.held = false;
    spare_.push_back(&operation);
  }
  if (failed) throw Error(failure.code, name + ": " + failure.text);
}

// All of its ranks are told, with the same code.
inline void Engine::time_out(Lock& lock, Operation& operation, const std::string& why) {
  Context& context = *operation.context;
  Header header;
  header.type = MessageType::abort;
  header.code = static_cast<uint64_t>(Code::timeout);
  tell_all(context, header, "rank " + std::to_string(context.rank) + " gave up: " + operation.title() + ": " + why);
  end(context, {Code::timeout, why}, false);
  nudge(lock);
}

}  // namespace onebit::mesh
