// Ranks as threads, and which of their errors is the one to tell.
#include "ranks.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

class Failures {
 public:
  void add(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    failures_.push_back(std::move(failure));
  }
  // After all ranks have ended.
  void rethrow() const {
    if (failures_.empty()) return;
    const auto cause = std::find_if(failures_.begin(), failures_.end(), is_cause);
    std::rethrow_exception(cause == failures_.end() ? failures_.front() : *cause);
  }

 private:
  static bool is_cause(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const Error& e) {
      return e.code() != Code::aborted && e.code() != Code::peer_failed && e.code() != Code::timeout;
    } catch (...) {
      return true;
    }
  }

  std::mutex mutex_;
  std::vector<std::exception_ptr> failures_;  // in the order in which they happened
};

}  // namespace

void run_ranks(int n, const std::function<void(int)>& f) {
  Failures failures;
  const auto guarded = [&](int rank) {
    try {
      f(rank);
    } catch (...) {
      failures.add(std::current_exception());
    }
  };
  std::vector<std::thread> threads;
  try {
    for (int rank = 0; rank < n; ++rank) threads.emplace_back(guarded, rank);
  } catch (...) {
    failures.add(std::current_exception());  // no more threads to be had; those that run will miss the others and time out
  }
  for (std::thread& thread : threads) thread.join();
  failures.rethrow();
}

}  // namespace onebit::host
