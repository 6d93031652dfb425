// SPDX-License-Identifier: Apache-2.0
// A step that begins before its gradients are all there: begin(), ready(), and step() without gradients.
#include <spdlog/logger.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "session/session_impl.hpp"

namespace onebit {

void Session::Impl::begin(void* stream) {
  try {
    open_step(stream);
    came.assign(layout.elements.size(), 0);
    announced.assign(layout.elements.size(), nullptr);
    kept.resize(layout.elements.size());
    made_in.resize(layout.elements.size());
    fault.clear();
    closed = false;
    is_ahead = overlap && !(clip_norm > 0) && exchange->can_begin_ahead(plan);
    if (is_ahead) start_ahead();
  } catch (const Error& e) {
    throw in_step(e);
  }
  begun = true;
  tell_why_not();
  backward.emplace(between, Mark{trace.get(), "backward"});
}

void Session::Impl::start_ahead() {
  if (!runner) {
    try {
      runner = std::make_unique<StepThread>(
          layout, [this] { run_ahead(); }, [this](const std::string& why) { communicator.abort(why); });
    } catch (const std::system_error& e) {
      throw Error(Code::unavailable,
                  std::string("there is no thread to exchange gradients: ") + e.what() + "; session.overlap = false needs none",
                  e.code().value());
    }
  }
  open = true;
  scale_of_step = static_cast<float>(gradient_scale);
  state.forget_partial_sums();
  if (on_device) {
    device->allocate_events(came.size() + 2);
    device->record(event_of_begin(), embedder);
    opening = on_device->begin(scale_of_step);
  } else {
    show_absent(nullptr);
    scanner.begin(false);
    opening = {&scale_of_step};
  }
  runner->begin();
}

void Session::Impl::ready(size_t tensor, const float* gradient, std::shared_ptr<const void> memory, void* stream) {
  require_own_process();
  const std::lock_guard lock(arriving);
  if (!ended.empty()) throw Error(Code::aborted, "this session ended with an earlier error: " + ended);
  if (!begun || closed)
    throw Error(Code::invalid_argument, std::string("ready() was called ") + (begun ? "after step()" : "before begin()"));
  if (tensor >= came.size())
    throw Error(Code::invalid_argument, "ready() was told of parameter " + std::to_string(tensor) + ", but there are " +
                                            std::to_string(came.size()) + ", numbered from 0");
  if (came[tensor] != 0) {
    fault = "the gradient of '" + replicas.parameters()[tensor].name +
            "' was announced twice in one step: it may have been sent already; to sum the gradients of several backward "
            "passes, announce it in the last of them (with a DataParallel: let a no_sync() guard live in the others, and call "
            "step() after the last)";
    throw Error(Code::invalid_argument, fault);
  }
  try {
    made_in[tensor] = stream != nullptr ? stream : embedder;
    if (device && gradient != nullptr) is_ahead ? device->record(tensor, made_in[tensor]) : device->follow(made_in[tensor]);
    came[tensor] = 1;
    announced[tensor] = gradient;
    kept[tensor] = std::move(memory);
    if (!is_ahead) return;
    point_at(tensor, gradient);
    runner->came(tensor);
  } catch (const Error& e) {
    throw in_step(e);
  }
}

StepReport Session::Impl::finish() {
  void* const stream = announce ? announce() : embedder;
  if (!begun) throw Error(Code::invalid_argument, "step() was called without gradients, and without begin() before it");
  {
    const std::lock_guard lock(arriving);
    closed = true;
    embedder = stream;
  }
  backward.reset();
  if (!fault.empty()) throw Error(Code::invalid_argument, fault);  // whoever has caught it then
  const StepReport done = timed([&] {
    if (!is_ahead) return take_step(announced);
    for (size_t t = 0; t < came.size(); ++t)
      if (came[t] == 0) point_at(t, nullptr);
    if (device) device->record(event_of_step(), embedder);
    {
      const Lap lap(blocked);
      runner->finish();
    }
    if (!device) conclude();
    if (!ordered) order_buckets();
  });
  begun = false;
  for (size_t t = 0; t < kept.size(); ++t)  // what follows in the stream of the step waits for it
    if (!device || made_in[t] == embedder) kept[t] = nullptr;
  return done;
}

// The step will not be finished: its thread ends, and reads no gradient any more.
void Session::Impl::end_begun() {
  if (!begun) return;
  {
    const std::lock_guard lock(arriving);
    begun = false;
  }
  backward.reset();
  if (runner) runner->stop();
}

void Session::Impl::run_ahead() {
  if (trace) trace->exchange_here();
  ballots = vote_begun();
  if (!same(ballots)) tell_begun_apart();
  if (device) device->await(event_of_begin());
  if (!exchange->run_ahead(now, plan, opening, *this)) return;
  second_pass(on_device ? on_device->totals() : totals(), true);
  if (on_device) leave_device(opening.skip);
}

// On a device, a rank that has all gradients at once does not look at this vote before it sends more: it learns from the abort.
void Session::Impl::tell_begun_apart() {
  const auto begins = [&](int64_t rank) { return (ballots[rank].flags & ballot_begun) != 0; };
  for (int64_t rank = 0; rank < ballots.count; ++rank)
    if (device && !begins(rank))
      throw Error(Code::state_mismatch, "step " + std::to_string(report.number) + " was begun by begin() on rank " +
                                            std::to_string(communicator.rank()) + ", and by step() with gradients on rank " +
                                            std::to_string(rank) + ": begin() it on all ranks, or on none");
  tell_apart();
}

void Session::Impl::wait_for(size_t bucket) {
  runner->wait_for(bucket);
  if (on_device) take_in(layout.buckets[bucket]);
}

// Of a device: its kernels wait for these gradients, and look at them.
void Session::Impl::take_in(const Bucket& bucket) {
  const auto tensor_of_block = [&](int64_t block) {
    return static_cast<size_t>(layout.blocks[static_cast<size_t>(block)].tensor);
  };
  const size_t last = tensor_of_block(bucket.first_block + bucket.block_count - 1);
  for (size_t t = tensor_of_block(bucket.first_block); t <= last; ++t)
    if (layout.elements[t] > 0 && announced[t] != nullptr) device->await(t);
  on_device->scan(bucket);
}

// The first vote: what must be the same, before messages of different sizes could meet.
Ballots Session::Impl::vote_begun() {
  const Lap lap(timings.wait, {trace.get(), "agreement"});
  return agreement.vote(said());
}

const Opening* Session::Impl::agree(size_t scanned) {
  runner->wait_for_all();
  {
    const Lap lap(timings.checks);
    given.note(announced);
  }
  if (on_device) {
    device->await(event_of_step());
    for (size_t turn = scanned; turn < layout.buckets.size(); ++turn) take_in(layout.buckets[exchange->bucket_at(turn)]);
    opening = on_device->agree(said(), terms_of_step, given.bits(report.local), given.lacking(report.local));
    return &opening;
  }
  for (size_t turn = scanned; turn < layout.buckets.size(); ++turn) {
    const Bucket& bucket = layout.buckets[exchange->bucket_at(turn)];
    scan(bucket.first_block, bucket.block_count);
  }
  const Verdict verdict = agreed();
  return verdict.skip == 0 ? &opening : nullptr;
}

// Collective, after the first step that ran ahead: from now on, in the order in which gradients came on rank 0.
void Session::Impl::order_buckets() {
  ordered = true;
  std::vector<uint32_t> order(layout.buckets.size());
  if (communicator.rank() == 0) {
    std::vector<char> is_there(order.size());
    order = runner->completed();
    for (const uint32_t b : order) is_there[b] = 1;
    for (size_t b = is_there.size(); b-- > 0;)
      if (is_there[b] == 0) order.push_back(static_cast<uint32_t>(b));
  }
  std::vector<onebit_part> parts(static_cast<size_t>(communicator.size()));
  parts[0].bytes = static_cast<int64_t>(order.size() * sizeof(uint32_t));
  for (size_t rank = 1; rank < parts.size(); ++rank) parts[rank] = {parts[0].bytes, 0};
  host_side().wait(host_side().all_gather(order.data(), order.data(), parts.data(), Call()), -1);
  exchange->set_order(order, plan);
}

void Session::Impl::require_not_begun(const char* what) const {
  if (begun) throw Error(Code::invalid_argument, std::string(what) + " came between begin() and step(): finish the step first");
}

// Once, and where anything could be gained.
void Session::Impl::tell_why_not() {
  if (told_why_not || !overlap || layout.options().ranks == 1) return;  // a single rank sends nothing
  const std::string reason =
      clip_norm > 0 ? "session.clip_norm needs the norm of all gradients first" : exchange->why_never_ahead();
  told_why_not = true;
  if (reason.empty() || communicator.rank() != 0 || !registry.logger()) return;
  registry.logger()->info("step {}: gradients are sent once all of them are there: {}", report.number, reason);
}

}  // namespace onebit
