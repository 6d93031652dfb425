// SPDX-License-Identifier: Apache-2.0
// The engine as its callers see it: posting, waiting, giving up.
#include "engine.hpp"

#include <algorithm>

#include "process.hpp"

namespace onebit::mpi {
namespace {

using namespace std::chrono_literals;

constexpr auto kFarewell = 2s;  // for the last control messages to leave

// What a rank brings for itself.
void copy_own(const Offer& offer, int rank) {
  const bool gathers = offer.kind == Collective::all_gather || offer.kind == Collective::split;
  if (!gathers && offer.kind != Collective::all_to_all) return;
  const Part& to = offer.out_parts[rank];
  if (to.bytes == 0) return;
  const char* from = gathers ? offer.in : offer.in + offer.in_parts[rank].offset;
  if (offer.out + to.offset != from) copy_bytes(offer.out + to.offset, from, static_cast<size_t>(to.bytes));
}

}  // namespace

Engine::Engine(MPI_Comm comm, const Services& services, const Limits& limits)
    : transport_(comm),
      services_(services),
      limits_(limits),
      signs_(static_cast<size_t>(transport_.size()), limits.timeout_ns, Clock::now()) {
  heard_.assign(static_cast<size_t>(size()), Clock::time_point{});
  if (size() > 1) {
    transport_.open();
    thread_ = std::thread([this] { run(); });
  }
  end_at_finalize(*this);
}

Engine::~Engine() {
  forget(*this);
  if (over_) return;
  {
    const Lock lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
  transport_.close(clean_);
}

// The MPI communicator is not given back: MPI_Finalize does that, and is under way.
void Engine::shut_down() noexcept {
  constexpr const char* kWhy = "MPI_Finalize was called in this process, and ended its communicators";
  {
    Lock lock(mutex_);
    for (const auto& [id, context] : contexts_) say_goodbye(*context, kWhy);
    if (thread_.joinable()) quiet_.wait_for(lock, kFarewell, [this] { return has_said_all(); });
    for (const auto& [id, context] : contexts_)
      if (!context->failure) context->failure = {Code::aborted, kWhy};
    stop_ = over_ = true;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
  transport_.close(false);
  break_down(kWhy);
}

Context& Engine::open(uint64_t id, int rank, std::vector<int> peers) {
  const Lock lock(mutex_);
  auto& context = contexts_[id];
  context = std::make_unique<Context>(id, rank, std::move(peers));
  if (const auto found = unknown_.find(id); found != unknown_.end()) {
    for (Message& message : found->second) handle(*context, message);
    unknown_.erase(found);
  }
  return *context;
}

// Tells the others that this rank leaves it, and ends what is under way.
void Engine::say_goodbye(Context& context, const char* why) {
  if (!context.open.empty()) end(context, {Code::aborted, why});
  Header header;
  header.type = MessageType::leave;
  header.sequence = context.next;
  tell_all(context, header, "");
  context.has_left = true;
}

bool Engine::has_said_all() const {
  const auto open = [](const auto& entry) { return !entry.second->open.empty(); };
  return broken_ || (std::none_of(contexts_.begin(), contexts_.end(), open) && outbox_.empty() && transport_.quiet());
}

void Engine::close(Context& context) noexcept {
  Lock lock(mutex_);
  const auto gone = [&] { return broken_ || (context.open.empty() && outbox_.empty() && transport_.quiet()); };
  if (!over_) {
    say_goodbye(context, "the communicator was destroyed");
    if (thread_.joinable() && !quiet_.wait_for(lock, kFarewell, gone)) give_up_finalizing();
  }
  if (context.failure && (context.failure->code == Code::timeout || context.failure->code == Code::peer_failed))
    note_lost_rank();
  clean_ = clean_ && context.all_gone() && !context.failure;
  ended_.erase(std::remove(ended_.begin(), ended_.end(), &context), ended_.end());
  closed_.insert(context.id);
  contexts_.erase(context.id);
}

Operation& Engine::take_spare() {
  if (spare_.empty()) spare_.push_back(operations_.emplace_back(std::make_unique<Operation>()).get());
  Operation& operation = *spare_.back();
  spare_.pop_back();
  operation.reset();
  return operation;
}

Operation& Engine::post(Context& context, const Offer& offer) {
  copy_own(offer, context.rank);
  Lock lock(mutex_);
  const std::string name = name_of(offer.kind);
  if (context.failure) throw Error(context.failure->code, name + ": " + context.failure->text);
  if (const int gone = context.gone_before(context.next); gone >= 0)
    throw Error(Code::peer_failed, name + ": rank " + std::to_string(gone) + " has destroyed its communicator");
  Operation& operation = take_spare();
  operation.context = &context;
  operation.sequence = context.next++;
  operation.offer = offer;
  operation.posted = operation.progressed = Clock::now();
  plan(operation, context.size());
  fill_pairs(operation, context.rank, context.size());
  if (context.size() == 1) {
    finish_phase(operation, 0, 1);
    operation.done = true;
    return operation;
  }
  context.open[operation.sequence] = &operation;
  ++open_operations_;
  posted_.push_back(&operation);
  work_.notify_one();
  return operation;
}

void Engine::refuse(Context& context, Collective kind, const Error& why) {
  const Lock lock(mutex_);
  if (context.failure || context.gone_before(context.next) >= 0) return;
  Header header;
  header.type = MessageType::fail;
  header.code = static_cast<int32_t>(why.code());
  header.sequence = context.next++;
  header.signature.kind = kind;
  tell_all(context, header,
           "rank " + std::to_string(context.rank) + " can't make its call of " + name_of(kind) + ": " + why.what());
}

void Engine::tell_all(const Context& context, Header header, const std::string& text) {
  header.context = context.id;
  header.origin = context.rank;
  for (int r = 0; r < context.size(); ++r) {
    if (r == context.rank || context.left[static_cast<size_t>(r)] != Context::kNever) continue;
    Message message;
    message.write(header, text);
    outbox_.emplace_back(context.peer(r), std::move(message));
  }
  work_.notify_one();
}

// The communicator's end. Operations under way are failed by the engine's thread, which alone may cancel what they wait for.
void Engine::end(Context& context, Failure failure) {
  if (context.failure) return;
  context.failure = std::move(failure);
  ended_.push_back(&context);
  work_.notify_one();
}

void Engine::abort(Context& context, std::string_view reason) {
  const Lock lock(mutex_);
  if (context.failure) return;
  const std::string text = "aborted by rank " + std::to_string(context.rank) + ": " +
                           (reason.empty() ? std::string("no reason given") : std::string(reason));
  Header header;
  header.type = MessageType::abort;
  header.code = static_cast<int32_t>(Code::aborted);
  tell_all(context, header, text);
  end(context, {Code::aborted, text});
  if (context.size() == 1) ended_.clear();
}

bool Engine::test(Operation& operation) {
  const Lock lock(mutex_);
  if (operation.done) {
    if (operation.failed) throw Error(operation.failure.code, title(operation) + ": " + operation.failure.text);
    return true;
  }
  if (operation.failed) return false;
  const Lateness late = lateness(operation, operation.posted, operation.offer.timeout_ns);
  if (!late.why.empty()) time_out(operation, late.why);
  return false;
}

// A rank is late when nothing came from it, on any communicator of this engine, for the whole time.
Clock::time_point Engine::last_sign(const Operation& operation) const {
  Clock::time_point last{};
  for (const int rank : operation.missing()) last = std::max(last, heard_[static_cast<size_t>(operation.context->peer(rank))]);
  return last;
}

Lateness Engine::lateness(const Operation& operation, Clock::time_point start, int64_t limit) const {
  const auto now = Clock::now();
  const std::vector<int> missing = operation.missing();
  if (limit >= 0) return lateness_by_call(ranks_text(missing), std::max(start, last_sign(operation)), limit, now);
  return lateness_by_limits(
      limits_, signs_, missing, [&](int rank) { return static_cast<size_t>(operation.context->peer(rank)); },
      [&](int rank) { return operation.pairs[static_cast<size_t>(rank)].met; }, ranks_text,
      std::max(start, operation.progressed), now);
}

void Engine::wait(Operation& operation, int64_t timeout_ns) {
  Lock lock(mutex_);
  const int64_t limit = timeout_ns < 0 ? operation.offer.timeout_ns : timeout_ns;
  const Clock::time_point start = Clock::now();
  while (!operation.done) {
    if (operation.failed) {
      changed_.wait(lock);
      continue;
    }
    const Lateness late = lateness(operation, start, limit);
    if (!late.why.empty()) time_out(operation, late.why);
    changed_.wait_until(lock, late.ask_again);
  }
  const bool failed = operation.failed;
  const Failure failure = operation.failure;
  const std::string name = failed ? title(operation) : std::string();
  if (!failed || failure.code != Code::timeout) give_back(operation);
  if (failed) throw Error(failure.code, name + ": " + failure.text);
}

void Engine::give_back(Operation& operation) {
  if (operation.under_way() == 0) spare_.push_back(&operation);  // else MPI still has its buffers, and it stays as it is
}

// All of its ranks are told, with the same code.
void Engine::time_out(Operation& operation, const std::string& why) {
  Context& context = *operation.context;
  if (context.failure) return;
  Header header;
  header.type = MessageType::abort;
  header.code = static_cast<int32_t>(Code::timeout);
  tell_all(context, header, "rank " + std::to_string(context.rank) + " gave up: " + title(operation) + ": " + why);
  end(context, {Code::timeout, why});
  throw Error(Code::timeout, title(operation) + ": " + why);
}

}  // namespace onebit::mpi
