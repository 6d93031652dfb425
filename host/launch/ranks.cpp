// SPDX-License-Identifier: Apache-2.0
// Ranks as threads, and which of their errors is the one to tell; ranks as processes, which tell their own.
#include "launch/ranks.hpp"

#include <spdlog/logger.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "launch/launcher.hpp"
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

onebit_rendezvous no_rendezvous() {
  const auto self = launched();
  constexpr const char* reason = "ranks that are processes have no rendezvous";
  return {sizeof(onebit_rendezvous),
          0,
          0,
          self ? self->local : 0,
          0,
          nullptr,
          [](void*, onebit_str, const void*, size_t, onebit_error* err) {
            return detail::guard(err, [] { throw Error(Code::unsupported, reason); });
          },
          [](void*, onebit_str, void*, size_t, size_t*, int64_t, onebit_error* err) {
            return detail::guard(err, [] { throw Error(Code::unsupported, reason); });
          }};
}

void Ranks::run(const Registry& registry, const Configuration& configuration, const Parameters& parameters,
                const Body& body) const {
  if (self_) {
    const auto waiting = [&](const std::string& why) { registry.logger()->warn("{}", why); };
    const TcpRendezvous rendezvous(*self_, std::chrono::minutes(5), std::chrono::seconds(10), waiting);
    return live(Session(registry, configuration, rendezvous.view(), parameters(0)), 0, body);
  }
  if (processes_) return live(Session(registry, configuration, no_rendezvous(), parameters(0)), 0, body);
  LocalRendezvous rendezvous(size_);
  run_ranks(size_, [&](int rank) {
    const auto place = static_cast<size_t>(rank);
    live(Session(registry, configuration, rendezvous.at(rank), parameters(place)), place, body);
  });
}

// The ranks leave together: none is gone, and none has told a launcher that it failed, while rank 0 still writes results.
void Ranks::live(Session session, size_t place, const Body& body) const {
  try {
    check_size(session.size());
    body(session, place);
    session.communicator().barrier(Call());
  } catch (const std::exception& e) {
    session.communicator().abort("rank " + std::to_string(session.rank()) + " failed: " + e.what());
    throw;
  } catch (...) {
    session.communicator().abort("rank " + std::to_string(session.rank()) + " failed");
    throw;
  }
}

void Ranks::check_size(int found) const {
  if (size_ == 0 && found == 1 && asked_ > 1)
    throw Error(Code::state_mismatch,
                said_ + " says that a launcher started this process, but the communicator finds no other, and " +
                    std::to_string(asked_) + " ranks are asked for; unset it to start them, or give --ranks 1 for one");
  if (size_ != 0 && found != size_)
    throw Error(Code::state_mismatch, "there are to be " + std::to_string(size_) + " ranks, but the communicator finds " +
                                          std::to_string(found) +
                                          "; was it built with another MPI than the launcher belongs to?");
}

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
