// SPDX-License-Identifier: Apache-2.0
// StepThread: the thread on which a step runs that has begun before its gradients are all there, and what has come of them.
// What is thrown there aborts the communicator at once, and is thrown again where the step is finished.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "exchange/layout.hpp"

namespace onebit {

class StepThread {
 public:
  // work: a step's, called on the thread. abort: ends it where it waits for other ranks; from any thread.
  StepThread(const Layout& layout, std::function<void()> work, std::function<void(const std::string&)> abort);
  ~StepThread() { stop(); }
  StepThread(const StepThread&) = delete;
  StepThread& operator=(const StepThread&) = delete;

  // Aborts a step that runs, and returns when the thread has ended. It uses this object until then.
  void stop();

  // The caller's side, in this order.
  void begin();
  // Any thread; what was done to the gradient before is seen by the work. Throws what the work has thrown.
  void came(size_t tensor);
  // In which order buckets became complete in the step that is done; those that did not are left out.
  const std::vector<uint32_t>& completed() const { return completed_; }
  void finish();  // no more will come; returns when the work is done, throws what it has thrown

  // The work's side.
  void wait_for(size_t bucket);  // until its gradients have come, or no more will
  void wait_for_all();

 private:
  enum class State { idle, runs, done, ends };
  void serve();
  void attempt() noexcept;
  template <class F>
  void wait_until(F&& come);

  const std::function<void()> work_;
  const std::function<void(const std::string&)> abort_;
  std::vector<std::vector<size_t>> buckets_of_;  // by tensor
  std::vector<size_t> tensors_in_, missing_;     // by bucket
  std::vector<uint32_t> completed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::idle;
  bool all_came_ = false;
  std::exception_ptr failure_;
  std::jthread thread_;  // the last member: it uses the others
};

}  // namespace onebit
