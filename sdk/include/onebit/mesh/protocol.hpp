// SPDX-License-Identifier: Apache-2.0
// The engine's protocol: what this rank tells its peers, and what follows from what they tell.
#pragma once

#include <utility>

#include "onebit/mesh/engine.hpp"

namespace onebit::mesh {

// What is wrong with a peer's post; empty where it fits.
inline std::string mismatch(const Operation& operation, const Header& theirs, int peer) {
  const int rank = operation.rank;
  const std::string signature = onebit::mismatch(theirs.signature, peer, operation.offer, rank);
  if (!signature.empty()) return signature;
  const Pair& pair = operation.pair(peer);
  return onebit::mismatch(operation.offer.kind, {pair.sends, pair.receives, operation.parts_hash()}, rank,
                          {theirs.sends, theirs.expects, theirs.parts}, peer);
}

// Tells every peer that this rank has come to the phase.
inline void Engine::announce(Operation& operation) {
  const Context& context = *operation.context;
  Header header;
  header.context = context.id;
  header.sequence = operation.sequence;
  header.phase = operation.phase;
  header.origin = context.rank;
  header.signature = operation.offer;
  header.parts = operation.parts_hash();
  for (int rank = 0; rank < context.size(); ++rank) {
    if (rank == context.rank) continue;
    const Pair& pair = operation.pair(rank);
    header.sends = pair.sends;
    header.expects = pair.receives;
    wire(context, rank).tell(header, pair.send, pair.sends <= kInlineBytes ? static_cast<size_t>(pair.sends) : 0);
  }
}

// A peer has come to the phase that is under way here.
inline void Engine::meet(Operation& operation, int rank, const Message& message) {
  const std::string wrong = mismatch(operation, message.header, rank);
  if (!wrong.empty()) return fail(operation, {Code::state_mismatch, wrong}, true);
  Pair& pair = operation.pair(rank);
  if (pair.met || message.tail.size() != (pair.receives <= kInlineBytes ? static_cast<size_t>(pair.receives) : 0))
    return end(*operation.context, {Code::state_mismatch, "rank " + std::to_string(rank) + " breaks the protocol"}, true);
  pair.met = true;
  operation.progressed = Clock::now();
  if (!message.tail.empty()) std::memcpy(pair.receive, message.tail.data(), message.tail.size());
  pair.received = static_cast<int64_t>(message.tail.size());
  if (pair.sends > kInlineBytes) {
    pair.sending = true;
    Header header;
    header.type = MessageType::payload;
    header.context = operation.context->id;
    header.sequence = operation.sequence;
    header.phase = operation.phase;
    header.origin = operation.rank;
    wire(*operation.context, rank).send(operation, rank, header);
  }
  moved_.push_back(&operation);
}

// What came before this rank did.
inline void Engine::hear_early(Operation& operation) {
  Context& context = *operation.context;
  const auto found = context.early.find(operation.sequence);
  if (found == context.early.end()) return;
  const std::vector<Message> messages = std::move(found->second);
  context.early.erase(found);
  for (const Message& message : messages) handle_post(context, message);
}

// A rank that has left does not come any more. The others are told: one that has all from it would wait for this rank.
inline void Engine::miss_gone(Operation& operation) {
  const Context& context = *operation.context;
  for (int r = 0; r < context.size(); ++r)
    if (operation.sequence >= context.left[static_cast<size_t>(r)] && !operation.pair(r).finished())
      fail(operation, {Code::peer_failed, "rank " + std::to_string(r) + " has destroyed its communicator"}, true);
}

inline void Engine::advance(Lock& lock, Operation& operation) {
  while (!operation.done && !operation.failed && operation.finished()) {
    {
      const Unlocked unlocked(lock, *this, &operation);
      operation.finish_phase();
    }
    if (operation.done || operation.failed) return;
    if (++operation.phase == operation.phases) return complete(operation);
    operation.fill_pairs();
    announce(operation);
    hear_early(operation);
  }
}

inline void Engine::complete(Operation& operation) {
  const auto nanoseconds = [](Clock::time_point at) { return std::chrono::nanoseconds(at.time_since_epoch()).count(); };
  operation.done = true;
  operation.context->open.erase(operation.sequence);
  operation.context->early.erase(operation.sequence);
  --open_operations_;
  if (!operation.failed && operation.offer.kind != Collective::barrier)
    services_.span(operation.title(), nanoseconds(operation.posted), nanoseconds(Clock::now()));
  if (operation.awaited) changed_.notify_all();
}

inline void Engine::fail(Operation& operation, const Failure& failure, bool tell) {
  if (operation.done || operation.failed) return;
  operation.failed = true;
  operation.failure = failure;
  if (tell) {
    Header header;
    header.type = MessageType::fail;
    header.sequence = operation.sequence;
    header.code = static_cast<uint64_t>(failure.code);
    tell_all(*operation.context, header, failure.text);
  }
  for (Wire& wire : wires_) wire.forget(operation);
  if (&operation != used_) complete(operation);
}

// Who drives no longer touches the memory of `used_`.
inline void Engine::use(Operation* operation) {
  Operation* before = std::exchange(used_, operation);
  if (before != nullptr && before->failed && !before->done) complete(*before);
}

inline void Engine::on_sent(Operation& operation, int rank) {
  operation.pair(rank).sending = false;
  moved_.push_back(&operation);
}

inline WireListener::Place Engine::place(int peer, const Header& header) {
  const auto found = contexts_.find(header.context);
  Operation* operation = found == contexts_.end() ? nullptr : found->second->find(header.sequence);
  if (operation == nullptr || operation->failed) return {nullptr, 0};
  const Pair& pair = operation->pair(found->second->rank_of(peer));
  const int64_t room = pair.met ? pair.receives - pair.received : 0;
  if (header.phase != operation->phase || static_cast<int64_t>(header.tail) > room)
    throw Error(Code::state_mismatch, "it sent payload that nobody expects");
  return {operation, found->second->rank_of(peer)};
}

inline void Engine::on_control(int peer, Message& message) {
  if (message.header.type == MessageType::beat) return;
  const auto found = contexts_.find(message.header.context);
  if (found == contexts_.end()) {
    unknown_[message.header.context].push_back(std::move(message));
  } else if (found->second->rank_of(peer) == message.header.origin) {
    handle(*found->second, message);
  } else {
    throw Error(Code::state_mismatch, "it claims to be rank " + std::to_string(message.header.origin));
  }
}

inline void Engine::handle(Context& context, const Message& message) {
  switch (message.header.type) {
    case MessageType::post:
    case MessageType::fail:
      return handle_post(context, message);
    case MessageType::abort:
      return end(context, {static_cast<Code>(message.header.code), message.text()}, false);
    case MessageType::leave:
      if (message.header.code != 0) end(context, {static_cast<Code>(message.header.code), message.text()}, false);
      return handle_leave(context, message.header);
    case MessageType::payload:  // goes to its place
    case MessageType::beat:
      return;
  }
}

inline void Engine::handle_post(Context& context, const Message& message) {
  const Header& header = message.header;
  if (context.failure) return;
  if (header.sequence >= context.next) return context.early[header.sequence].push_back(message);
  Operation* operation = context.find(header.sequence);
  if (operation == nullptr || operation->failed) return;
  if (header.type == MessageType::fail) return fail(*operation, {static_cast<Code>(header.code), message.text()}, false);
  if (header.phase > operation->phase) return context.early[header.sequence].push_back(message);
  meet(*operation, header.origin, message);
}

inline void Engine::handle_leave(Context& context, const Header& header) {
  context.left[static_cast<size_t>(header.origin)] = header.sequence;
  const std::map<uint64_t, Operation*> open = context.open;
  for (const auto& entry : open) miss_gone(*entry.second);
  retire(context);
}

// A communicator that was destroyed here is forgotten when nobody sends anything for it any more.
inline void Engine::retire(Context& context) {
  if (context.closed && context.all_left()) contexts_.erase(context.id);
}

}  // namespace onebit::mesh
