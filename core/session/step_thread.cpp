// SPDX-License-Identifier: Apache-2.0
#include "session/step_thread.hpp"

#include <utility>

#include "onebit/error.hpp"
#include "process/float_environment.hpp"

namespace onebit {

StepThread::StepThread(const Layout& layout, std::function<void()> work, std::function<void(const std::string&)> abort)
    : work_(std::move(work)),
      abort_(std::move(abort)),
      buckets_of_(layout.elements.size()),
      tensors_in_(layout.buckets.size(), 0),
      missing_(layout.buckets.size(), 0) {
  for (size_t b = 0; b < layout.buckets.size(); ++b)
    for (int64_t k = 0; k < layout.buckets[b].block_count; ++k) {
      const onebit_block& block = layout.blocks[static_cast<size_t>(layout.buckets[b].first_block + k)];
      std::vector<size_t>& buckets = buckets_of_[static_cast<size_t>(block.tensor)];
      if (!buckets.empty() && buckets.back() == b) continue;
      buckets.push_back(b);
      ++tensors_in_[b];
    }
  thread_ = std::jthread([this] { serve(); });
}

void StepThread::stop() {
  bool ran = false;
  {
    const std::lock_guard lock(mutex_);
    ran = state_ == State::runs;
    state_ = State::ends;
  }
  changed_.notify_all();
  try {
    if (ran) abort_("a session ended between begin() and step()");
  } catch (const Error&) {
    // the peers' own timeouts end their waits
  }
  if (thread_.joinable()) thread_.join();
}

void StepThread::begin() {
  {
    const std::lock_guard lock(mutex_);
    missing_ = tensors_in_;
    completed_.clear();
    all_came_ = false;
    state_ = State::runs;
  }
  changed_.notify_all();
}

void StepThread::came(size_t tensor) {
  bool whole = false;
  {
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    const std::vector<size_t>& buckets = buckets_of_[tensor];
    for (auto b = buckets.rbegin(); b != buckets.rend(); ++b) {  // the last first, as in the order before
      if (--missing_[*b] > 0) continue;
      whole = true;
      completed_.push_back(static_cast<uint32_t>(*b));
    }
  }
  if (whole) changed_.notify_all();
}

void StepThread::finish() {
  std::unique_lock lock(mutex_);
  all_came_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return state_ != State::runs; });
  state_ = State::idle;
  if (failure_) std::rethrow_exception(failure_);
}

template <class F>
void StepThread::wait_until(F&& come) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return state_ == State::ends || all_came_ || come(); });
  if (state_ == State::ends) throw Error(Code::aborted, "the session ended between begin() and step()");
}
void StepThread::wait_for(size_t bucket) {
  wait_until([&] { return missing_[bucket] == 0; });
}
void StepThread::wait_for_all() {
  wait_until([] { return false; });
}

void StepThread::serve() {
  FloatEnvironment::set_default();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return state_ == State::runs || state_ == State::ends; });
      if (state_ == State::ends) return;
    }
    attempt();
    const std::lock_guard lock(mutex_);
    if (state_ == State::ends) return;
    state_ = State::done;
    changed_.notify_all();
  }
}

void StepThread::attempt() noexcept {
  std::string reason;
  try {
    return work_();
  } catch (const std::exception& e) {
    reason = e.what();
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
  }
  try {
    abort_(reason);
  } catch (const std::exception&) {
    return;  // the first error is the one to tell
  }
}

}  // namespace onebit
