// SPDX-License-Identifier: Apache-2.0
// Who runs the ranks of a run: threads of this process, all of them; or this process, as one of many that a launcher started.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "onebit/rendezvous.hpp"
#include "onebit/session.hpp"

namespace onebit::host {

inline constexpr int kMostThreads = 64;       // ranks that are threads of one process
inline constexpr int kMostOwnProcesses = 64;  // ranks that are processes which the command itself starts
inline constexpr int kMostProcesses = 4096;   // ranks that are processes

class Ranks {
 public:
  static Ranks threads(int n) { return {n, false, std::nullopt}; }
  // For communicators that know of the others by themselves. size: ranks in all; 0: as many as the communicator finds.
  static Ranks process(int size) { return {size, true, std::nullopt}; }
  // For those of which nobody has said how many there are (`said` is all there was): an error when the communicator then finds
  // this process alone, and asked is more.
  static Ranks process_of_unknown(int64_t asked, std::string said) {
    Ranks ranks(0, true, std::nullopt);
    ranks.asked_ = asked;
    ranks.said_ = std::move(said);
    return ranks;
  }
  // For those that do not: the processes meet at rank 0's TCP store.
  static Ranks process(const LaunchedRank& self) { return {self.size, true, self}; }

  // 0: not known before there is a session.
  int size() const { return size_; }
  // How many of them run in this process.
  size_t here() const { return processes_ ? 1 : static_cast<size_t>(size_); }

  // What a rank brings, and what it does; `place` counts the ranks that run here, from 0.
  using Parameters = std::function<std::vector<Parameter>(size_t place)>;
  using Body = std::function<void(Session& session, size_t place)>;
  // Runs the body of every rank that runs here, each on its own session, and returns when the bodies of all ranks everywhere
  // have. A rank whose body throws ends the others; then this throws what went wrong first.
  void run(const Registry& registry, const Configuration& configuration, const Parameters& parameters, const Body& body) const;

 private:
  Ranks(int size, bool processes, std::optional<LaunchedRank> self)
      : size_(size), processes_(processes), self_(std::move(self)) {}
  void live(Session session, size_t place, const Body& body) const;
  void check_size(int found) const;

  int size_;
  bool processes_;
  std::optional<LaunchedRank> self_;
  int64_t asked_ = 1;
  std::string said_;
};

// What a process brings that knows of no other: its communicator finds them. Which of the machine's devices is its own, the
// launcher tells.
onebit_rendezvous no_rendezvous();

// Runs f(rank) for ranks 0 to n - 1, each on a thread of its own, and returns when all have ended. When some threw, throws what
// went wrong first: of errors that merely tell of another rank's (aborted, peer failed, timed out), only if there are no
// others.
void run_ranks(int n, const std::function<void(int)>& f);

}  // namespace onebit::host
