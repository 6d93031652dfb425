// SPDX-License-Identifier: Apache-2.0
// The engine's thread: posts go out, posts and payload come in, operations move on.
#include <sys/prctl.h>

#include <algorithm>
#include <exception>

#include "engine.hpp"
#include "process.hpp"

namespace onebit::mpi {
namespace {

using namespace std::chrono_literals;

constexpr auto kShortestNap = 20us, kLongestNap = 200us;
constexpr auto kIdleNap = 2ms;  // nothing is under way: MPI may still have to push out what others wait for
constexpr auto kPatience = 1s;  // for payload of an operation that has failed
constexpr int kPieces = 4;      // of payload under way in one direction

int64_t nanoseconds(Clock::time_point at) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
}

}  // namespace

void Engine::run() {
  try {
    move();
  } catch (const std::exception& e) {  // a call of MPI's that can't be made, or no memory
    break_down(e.what());
  }
}

void Engine::move() {
  ::prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);  // ns: naps end when they should
  Lock lock(mutex_);
  while (!stop_) {
    start_posted(lock);
    lock.unlock();
    const bool moved = transport_.collect();
    lock.lock();
    transport_.deliver(*this);
    signs_.look(Clock::now());
    beat();
    while (!moved_.empty()) {
      Operation& operation = *moved_.back();
      moved_.pop_back();
      advance(lock, operation);
    }
    sweep();
    if (moved) {
      nap_ = 0us;
    } else {
      pause(lock);
    }
  }
}

// To those that may wait for this rank.
void Engine::beat() {
  if (!signs_.due(Clock::now())) return;
  std::set<int> peers;
  for (const auto& [id, context] : contexts_)
    for (int rank = 0; rank < context->size(); ++rank)
      if (!context->has_left && rank != context->rank && context->left[static_cast<size_t>(rank)] == Context::kNever)
        peers.insert(context->peer(rank));
  for (const int peer : peers) transport_.beat(peer);
}

// Nothing moves any more: every communicator ends, and so does what is under way on it.
void Engine::break_down(const std::string& reason) {
  const Lock lock(mutex_);
  broken_ = true;
  clean_ = false;
  give_up_finalizing();
  posted_.clear();
  outbox_.clear();
  moved_.clear();
  failing_.clear();
  for (const auto& [id, context] : contexts_) {
    if (!context->failure) context->failure = {Code::peer_failed, reason};
    for (const auto& [sequence, operation] : std::map<uint64_t, Operation*>(context->open)) {
      operation->failed = true;
      operation->failure = *context->failure;
      complete(*operation);
    }
  }
}

// Naps get longer while nothing happens: a core is better spent on computing.
void Engine::pause(Lock& lock) {
  if (!posted_.empty() || !outbox_.empty() || !ended_.empty() || !moved_.empty() || stop_) return;
  quiet_.notify_all();
  nap_ = std::clamp<std::chrono::microseconds>(nap_ * 2, kShortestNap, kLongestNap);
  const bool idle = open_operations_ == 0 && transport_.quiet();
  work_.wait_for(lock, idle ? kIdleNap : nap_);
}

void Engine::start_posted(Lock& lock) {
  while (!posted_.empty()) {
    Operation& operation = *posted_.front();
    posted_.pop_front();
    start(lock, operation);
  }
  while (!outbox_.empty()) {
    transport_.tell(outbox_.front().first, std::move(outbox_.front().second));
    outbox_.pop_front();
  }
}

void Engine::start(Lock& lock, Operation& operation) {
  Context& context = *operation.context;
  operation.started = true;
  context.started = operation.sequence;
  if (context.failure) return fail(operation, *context.failure, false);
  announce(operation);
  if (const auto found = context.early.find(operation.sequence); found != context.early.end()) {
    std::vector<Message> messages = std::move(found->second);
    context.early.erase(found);
    for (Message& message : messages) handle(context, message);
  }
  if (const int gone = context.gone_before(operation.sequence); gone >= 0 && !operation.done)
    fail(operation, {Code::peer_failed, "rank " + std::to_string(gone) + " has destroyed its communicator"}, false);
  advance(lock, operation);
}

// Tells every peer that this rank has come to the phase.
void Engine::announce(Operation& operation) {
  const Context& context = *operation.context;
  Header header;
  header.context = context.id;
  header.sequence = operation.sequence;
  header.phase = operation.phase;
  header.origin = context.rank;
  header.signature = operation.offer;
  header.parts = parts_hash(operation, context.size());
  for (int rank = 0; rank < context.size(); ++rank) {
    if (rank == context.rank) continue;
    Pair& pair = operation.pairs[static_cast<size_t>(rank)];
    const bool fits = pair.sends <= kInlineBytes;
    header.sends = pair.sends;
    header.expects = pair.receives;
    header.tag = pair.tag = fits ? 0 : transport_.next_tag(context.peer(rank));
    Message message = transport_.blank();
    message.write(header, pair.send, fits ? pair.sends : 0);
    transport_.tell(context.peer(rank), std::move(message));
  }
}

// A peer has come to the phase that is under way here.
void Engine::meet(Operation& operation, int rank, const Header& header, const Message& message) {
  const Context& context = *operation.context;
  const std::string wrong = mismatch(operation, context.rank, header, rank, parts_hash(operation, context.size()));
  if (!wrong.empty()) return fail(operation, {Code::state_mismatch, wrong}, true);
  Pair& pair = operation.pairs[static_cast<size_t>(rank)];
  pair.met = true;
  operation.progressed = Clock::now();
  if (header.tail > 0) {
    copy_bytes(pair.receive, message.tail(), header.tail);
  } else {
    pair.receiving = {0, pair.receives, header.tag, 0};
  }
  if (pair.tag > 0) pair.sending = {0, pair.sends, pair.tag, 0};
  pump(operation, rank);
}

// Gives MPI the next pieces of payload, in their order, so that a few are always under way.
void Engine::pump(Operation& operation, int rank) {
  Pair& pair = operation.pairs[static_cast<size_t>(rank)];
  const int peer = operation.context->peer(rank);
  const auto next = [](Flow& flow) {
    const int64_t bytes = std::min(flow.left, Transport::kPiece);
    flow.left -= bytes;
    flow.moved += bytes;
    ++flow.under_way;
    return bytes;
  };
  for (Flow& flow = pair.receiving; flow.left > 0 && flow.under_way < kPieces;) {
    char* const to = pair.receive + flow.moved;
    transport_.receive(peer, flow.tag, to, next(flow), operation, rank);
  }
  for (Flow& flow = pair.sending; flow.left > 0 && flow.under_way < kPieces;) {
    const char* const from = pair.send + flow.moved;
    transport_.send(peer, flow.tag, from, next(flow), operation, rank);
  }
}

void Engine::advance(Lock& lock, Operation& operation) {
  if (operation.done) return;
  const Context& context = *operation.context;
  while (!operation.done && !operation.failed && operation.finished()) {
    lock.unlock();  // callers go on while sums are taken
    finish_phase(operation, context.rank, context.size());
    lock.lock();
    if (++operation.phase == operation.phases) return complete(operation);
    fill_pairs(operation, context.rank, context.size());
    announce(operation);
    for (int rank = 0; rank < context.size(); ++rank) {
      std::vector<Message> early = std::move(operation.pairs[static_cast<size_t>(rank)].early);
      operation.pairs[static_cast<size_t>(rank)].early.clear();
      for (const Message& message : early)
        if (!operation.failed) meet(operation, rank, message.header(), message);
    }
  }
  if (operation.failed && !operation.done) settle(operation);
}

void Engine::complete(Operation& operation) {
  operation.done = true;
  operation.context->open.erase(operation.sequence);
  --open_operations_;
  for (Pair& pair : operation.pairs) pair.early.clear();
  if (!operation.failed && operation.offer.kind != Collective::barrier)
    services_.span(title(operation), nanoseconds(operation.posted), nanoseconds(Clock::now()));
  changed_.notify_all();
}

void Engine::fail(Operation& operation, const Failure& failure, bool tell) {
  if (operation.done || operation.failed) return;
  operation.failed = true;
  operation.failure = failure;
  if (tell) {
    Header header;
    header.type = MessageType::fail;
    header.sequence = operation.sequence;
    header.code = static_cast<int32_t>(failure.code);
    tell_all(*operation.context, header, failure.text);
  }
  for (Pair& pair : operation.pairs) pair.sending.left = pair.receiving.left = 0;
  transport_.cancel(operation);
  failing_.emplace_back(&operation, Clock::now() + kPatience);
  moved_.push_back(&operation);
}

// A failed operation is done when nothing of it is under way.
void Engine::settle(Operation& operation) {
  if (operation.under_way() > 0) return;
  failing_.erase(std::remove_if(failing_.begin(), failing_.end(), [&](const auto& f) { return f.first == &operation; }),
                 failing_.end());
  complete(operation);
}

// Ended communicators fail what is under way on them; what does not end by itself is given up.
void Engine::sweep() {
  for (Context* context : std::exchange(ended_, {})) {
    const std::map<uint64_t, Operation*> open = context->open;
    for (const auto& [sequence, operation] : open)
      if (operation->started) fail(*operation, *context->failure, false);
  }
  const auto now = Clock::now();
  for (size_t i = 0; i < failing_.size();) {
    if (now < failing_[i].second) {
      ++i;
      continue;
    }
    Operation& operation = *failing_[i].first;
    failing_.erase(failing_.begin() + static_cast<std::ptrdiff_t>(i));
    give_up_finalizing();
    clean_ = false;
    complete(operation);
  }
}

void Engine::on_payload(Operation& operation, int peer, int rank, bool received) {
  Pair& pair = operation.pairs[static_cast<size_t>(rank)];
  --(received ? pair.receiving : pair.sending).under_way;
  operation.progressed = Clock::now();
  if (received) {
    heard_[static_cast<size_t>(peer)] = operation.progressed;
    signs_.hear(static_cast<size_t>(peer), operation.progressed);
  }
  if (operation.done) return;
  if (!operation.failed) pump(operation, rank);
  moved_.push_back(&operation);
}

void Engine::on_error(int peer, int code) {
  for (const auto& [id, context] : contexts_)
    for (int rank = 0; rank < context->size(); ++rank)
      if (rank != context->rank && context->peer(rank) == peer)
        end(*context, {Code::peer_failed, "rank " + std::to_string(rank) + ": " + text_of(code)});
}

void Engine::on_message(int peer, Message& message) {
  const auto now = Clock::now();
  signs_.hear(static_cast<size_t>(peer), now);
  const Header header = message.header();
  if (header.magic != Header::current_magic) {
    for (const auto& [id, context] : contexts_)
      end(*context,
          {Code::state_mismatch, "rank " + std::to_string(peer) + " of MPI's communicator runs another version of plugin mpi"});
    return;
  }
  if (header.type == MessageType::beat) return;
  heard_[static_cast<size_t>(peer)] = now;
  if (const auto found = contexts_.find(header.context); found != contexts_.end()) return handle(*found->second, message);
  if (closed_.count(header.context) == 0) unknown_[header.context].push_back(std::move(message));
}

void Engine::handle(Context& context, Message& message) {
  const Header header = message.header();
  switch (header.type) {
    case MessageType::post:
    case MessageType::fail:
      return handle_post(context, header, message);
    case MessageType::abort:
      return end(context, {static_cast<Code>(header.code), message.text()});
    case MessageType::beat:
      return;
    case MessageType::leave:
      context.left[static_cast<size_t>(header.origin)] = header.sequence;
      const std::map<uint64_t, Operation*> open = context.open;
      for (const auto& [sequence, operation] : open)
        if (sequence >= header.sequence && operation->started)
          fail(*operation, {Code::peer_failed, "rank " + std::to_string(header.origin) + " has destroyed its communicator"},
               false);
  }
}

void Engine::handle_post(Context& context, const Header& header, Message& message) {
  if (header.sequence > context.started) {
    context.early[header.sequence].push_back(std::move(message));
    return;
  }
  Operation* operation = context.find(header.sequence);
  if (operation == nullptr || operation->failed) return;
  if (header.type == MessageType::fail) return fail(*operation, {static_cast<Code>(header.code), message.text()}, false);
  Pair& pair = operation->pairs[static_cast<size_t>(header.origin)];
  if (header.phase > operation->phase) {
    pair.early.push_back(std::move(message));
    return;
  }
  meet(*operation, header.origin, header, message);
  moved_.push_back(operation);
}

}  // namespace onebit::mpi
