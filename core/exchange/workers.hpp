// SPDX-License-Identifier: Apache-2.0
// Workers: the threads that share a rank's tiles. A fork-join of a fixed number of threads, without queue, lock or allocation;
// made of standard barriers, so that the thread sanitizer sees every hand-over (it does not in TBB's or OpenMP's libraries).
#pragma once

#include <barrier>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace onebit {

class Workers {
 public:
  explicit Workers(int count);  // count >= 1, the caller's own thread included
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  int count() const { return count_; }

  // Calls f(worker, item) for every item of [0, items), each once; a worker has neighbouring items. Returns when all are done;
  // throws what the lowest worker threw.
  template <class F>
  void run(int64_t items, F&& f) {
    auto share = [&](int worker) {
      const int64_t first = items * worker / count_, last = items * (worker + 1) / count_;
      for (int64_t item = first; item < last; ++item) f(worker, item);
    };
    if (count_ == 1) return share(0);
    context_ = &share;
    call_ = [](void* context, int worker) { (*static_cast<decltype(share)*>(context))(worker); };
    dispatch();
  }

 private:
  void dispatch();
  void serve(int worker);
  void attempt(int worker) noexcept;

  int count_;
  void* context_ = nullptr;
  void (*call_)(void*, int) = nullptr;  // NULL at the start of a turn: the end
  std::barrier<> turn_;
  std::vector<std::exception_ptr> failures_;
  std::vector<std::jthread> threads_;
};

}  // namespace onebit
