// SPDX-License-Identifier: Apache-2.0
// The engine at work: whoever drives moves what can be moved, and sleeps until more can.
#pragma once

#include <exception>

#include "onebit/mesh/engine.hpp"

namespace onebit::mesh {

inline bool Engine::busy() const {
  if (open_operations_ > 0) return true;
  return std::any_of(wires_.begin(), wires_.end(), [](const Wire& w) { return w.has_to_send(); });
}

// Until done() or the deadline. spin: how long to look again and again before sleeping.
template <class Done>
void Engine::drive(Lock& lock, Clock::time_point deadline, std::chrono::microseconds spin, Done&& done) {
  driven_ = true;
  try {
    Clock::time_point moved = Clock::now();
    while (!done()) {
      const bool moves = step(lock);
      const auto now = Clock::now();
      if (moves) {
        moved = now;
      } else if (done() || now >= deadline) {
        break;
      } else if (now < moved + spin) {
        lock.unlock();
        std::this_thread::yield();
        lock.lock();
      } else {
        sleep(lock, deadline);
      }
    }
  } catch (const std::exception& e) {  // of Mesh::wait, or no memory
    break_down(e.what());
  }
  driven_ = false;
  if (busy()) {
    parked_.notify_one();
  } else {
    changed_.notify_all();
  }
}

// The engine's thread, for when nobody waits.
inline void Engine::run() {
  Lock lock(mutex_);
  while (!stop_) {
    beat(lock);
    const auto until = signs_.next(Clock::now());
    if (driven_ || !busy()) {
      parked_.wait_until(lock, until);
    } else {
      drive(lock, until, {}, [this] { return stop_ || !busy(); });
    }
  }
}

// A peer that has not taken what was sent before gets no heartbeat on top.
inline void Engine::beat(Lock& lock) {
  if (stop_ || !signs_.due(Clock::now())) return;
  Header header;
  header.type = MessageType::beat;
  for (Wire& wire : wires_)
    if (wire.alive() && !wire.has_to_send()) wire.tell(header, nullptr, 0);
  nudge(lock);
}

// Answers whether there may be more to do at once.
inline bool Engine::step(Lock& lock) {
  bool moved = false;
  const auto on_all = [&](bool (Wire::*move)(Lock&)) {
    for (size_t peer = 0; peer < wires_.size(); ++peer) {
      if (!wires_[peer].alive()) continue;
      const uint64_t before = wires_[peer].progress();
      try {
        if (!(wires_[peer].*move)(lock)) continue;
        if (wires_[peer].progress() != before) heard_[peer] = Clock::now();
        if (move == &Wire::pull) signs_.hear(peer, Clock::now());
        moved = true;
      } catch (const Error& why) {
        lose(lock, static_cast<int>(peer), why);
        moved = true;
      }
    }
  };
  on_all(&Wire::pull);
  signs_.look(Clock::now());
  while (!moved_.empty()) {
    Operation& operation = *moved_.back();
    moved_.pop_back();
    advance(lock, operation);
  }
  on_all(&Wire::push);
  return moved || !moved_.empty();  // callers add to these while bytes move
}

inline void Engine::sleep(Lock& lock, Clock::time_point deadline) {
  for (size_t peer = 0; peer < wires_.size(); ++peer) watches_[peer] = {wires_[peer].alive(), wires_[peer].has_to_send()};
  int64_t timeout_ns = -1;
  if (deadline != Clock::time_point::max())
    timeout_ns = std::max<int64_t>(0, std::chrono::nanoseconds(deadline - Clock::now()).count());
  sleeping_ = true;
  lock.unlock();
  try {
    mesh_->wait(watches_.data(), timeout_ns);
  } catch (...) {
    lock.lock();
    sleeping_ = false;
    throw;
  }
  lock.lock();
  sleeping_ = false;
}

// Nothing moves any more: every communicator ends, and so does what is under way on it.
inline void Engine::break_down(const std::string& reason) noexcept {
  for (Wire& wire : wires_) wire.cut();
  moved_.clear();
  for (const auto& entry : contexts_) end(*entry.second, {Code::internal, reason}, false);
}

// A stream is broken. Communicators that its other end had left, and that miss nothing from it, go on.
inline void Engine::lose(Lock& lock, int peer, const Error& why) {
  Wire& wire = wires_[static_cast<size_t>(peer)];
  try {
    while (wire.pull(lock)) {  // why it went may be among the last that it said
    }
  } catch (const Error&) {
  }
  wire.cut();
  const Code code = why.code() == Code::state_mismatch ? why.code() : Code::peer_failed;
  std::vector<Context*> contexts;
  for (const auto& entry : contexts_) contexts.push_back(entry.second.get());
  for (Context* context : contexts) {
    const int rank = context->rank_of(peer);
    if (rank < 0) continue;
    bool missed = context->left[static_cast<size_t>(rank)] == Context::kNever;
    for (const auto& entry : context->open) missed = missed || !entry.second->pair(rank).finished();
    context->left[static_cast<size_t>(rank)] = std::min(context->left[static_cast<size_t>(rank)], context->next);
    if (missed) end(*context, {code, "rank " + std::to_string(rank) + " failed: " + why.what()}, !context->closed);
    retire(*context);
  }
}

}  // namespace onebit::mesh
