// SPDX-License-Identifier: Apache-2.0
// One case of the communicator suite on ranks that are threads of this process; or, where a communicator's ranks are processes
// that a launcher starts, on the ranks that there are.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "onebit/conformance/communicator.hpp"
#include "onebit/conformance/runner/component.hpp"
#include "onebit/rendezvous.hpp"

namespace onebit::conformance {

// Ranks that do not come to an end. They are left behind, and all they use with them.
struct Hangs : Unmet {
  using Unmet::Unmet;
};

constexpr std::chrono::seconds patience{60};

// A rank that fails gives the others notice, so that they do not wait for it.
inline std::string outcome_on(Rank& self, void (*body)(Rank&)) {
  try {
    body(self);
    return "";
  } catch (const std::exception& e) {
    const std::string text = e.what();
    try {
      if (self) self->abort("the case failed on rank " + std::to_string(self->rank()));
    } catch (const std::exception&) {
      return text;  // what else went wrong is of no use
    }
    return text;
  }
}

// A group of threads, each a rank.
class ThreadRanks {
 public:
  ThreadRanks(MakeCommunicator make, int ranks, void (*body)(Rank&))
      : group_(std::make_shared<Group>(std::move(make), ranks, body)) {
    for (int rank = 0; rank < ranks; ++rank) threads_.emplace_back(&ThreadRanks::live, group_, rank);
  }
  // What went wrong on which rank; "": nothing.
  std::string outcome(std::chrono::nanoseconds limit) {
    std::unique_lock lock(group_->mutex);
    const auto ranks = group_->texts.size();
    const bool done = group_->ended.wait_for(lock, limit, [&] { return group_->done == ranks; });
    lock.unlock();
    for (std::thread& thread : threads_) done ? thread.join() : thread.detach();
    if (!done)
      throw Hangs("a group of " + std::to_string(ranks) + " ranks has not come to an end after " +
                  text_of(std::chrono::duration<double>(limit).count()) + " s");
    std::string all;
    for (size_t rank = 0; rank < ranks; ++rank)
      if (const std::string& text = group_->texts[rank]; !text.empty())
        all += (all.empty() ? "" : "; ") + ("rank " + std::to_string(rank)) + " of " + std::to_string(ranks) + ": " + text;
    return all;
  }

 private:
  struct Group {
    Group(MakeCommunicator with, int ranks, void (*of)(Rank&))
        : make(std::move(with)), body(of), rendezvous(ranks), texts(static_cast<size_t>(ranks)) {}
    const MakeCommunicator make;
    void (*const body)(Rank&);
    LocalRendezvous rendezvous;
    std::mutex mutex;
    std::condition_variable ended;
    size_t done = 0;
    std::vector<std::string> texts;
  };

  static void live(const std::shared_ptr<Group>& group, int rank) {
    std::string text;
    try {
      Rank self = group->make(group->rendezvous.at(rank));
      text = outcome_on(self, group->body);
    } catch (const std::exception& e) {
      text = e.what();
    }
    const std::lock_guard lock(group->mutex);
    group->texts[static_cast<size_t>(rank)] = text;
    ++group->done;
    group->ended.notify_all();
  }

  std::shared_ptr<Group> group_;
  std::vector<std::thread> threads_;
};

// On groups of one rank and more.
inline void run_on_threads(const MakeCommunicator& make, void (*body)(Rank&), std::chrono::nanoseconds limit = patience) {
  for (const int ranks : {1, 2, 3, 4}) {
    const std::string text = ThreadRanks(make, ranks, body).outcome(limit);
    require(text.empty(), text);
  }
}

// What a process brings that knows of no other: its communicator finds them.
inline onebit_rendezvous no_rendezvous() {
  constexpr const char* reason = "ranks that are processes have no rendezvous";
  return {
      sizeof(onebit_rendezvous),
      0,
      0,
      0,
      0,
      nullptr,
      [](void*, onebit_str, const void*, size_t, onebit_error* err) { return detail::fill(err, ONEBIT_UNSUPPORTED, reason); },
      [](void*, onebit_str, void*, size_t, size_t*, int64_t, onebit_error* err) {
        return detail::fill(err, ONEBIT_UNSUPPORTED, reason);
      }};
}

}  // namespace onebit::conformance
