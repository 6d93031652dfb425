// SPDX-License-Identifier: Apache-2.0
// The case of a rank whose process is killed: the others must be told so, and not wait for ever. Ranks are processes here,
// forked from this one and meeting over TCP.
#pragma once

#include <poll.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <exception>
#include <string>
#include <vector>

#include "onebit/conformance/runner/ranks.hpp"

namespace onebit::conformance {

// Both ends are closed with it.
class Pipe {
 public:
  Pipe() {
    if (::pipe(ends_) != 0) throw Error(Code::unavailable, "there is no pipe to be had");
  }
  ~Pipe() {
    for (const int end : ends_)
      if (end >= 0) ::close(end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void write(const void* data, size_t size) const {
    if (::write(ends_[1], data, size) != static_cast<ssize_t>(size)) throw Error(Code::unavailable, "a pipe broke");
  }
  void read(void* data, size_t size) const {
    if (::read(ends_[0], data, size) != static_cast<ssize_t>(size)) throw Error(Code::unavailable, "a pipe broke");
  }
  void close_writing() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  // What comes until the other side has ended; throws Unmet, which says who, when that takes longer.
  std::string read_all(std::chrono::steady_clock::time_point until, const std::string& who) {
    close_writing();
    std::string text;
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
      pollfd waited = {ends_[0], POLLIN, 0};
      if (left <= 0 || ::poll(&waited, 1, static_cast<int>(left)) == 0) throw Unmet(who);
      char piece[512];
      const ssize_t got = ::read(ends_[0], piece, sizeof piece);
      if (got <= 0) return text;
      text.append(piece, static_cast<size_t>(got));
    }
  }

 private:
  int ends_[2];
};

class KilledRank {
 public:
  // limit: of the time until all that live have been told, once the ranks were started.
  explicit KilledRank(MakeCommunicator make, std::chrono::seconds limit = std::chrono::seconds(30))
      : make_(std::move(make)), limit_(limit) {}
  ~KilledRank() {
    for (const pid_t process : processes_) {
      ::kill(process, SIGKILL);
      ::waitpid(process, nullptr, 0);
    }
  }
  KilledRank(const KilledRank&) = delete;
  KilledRank& operator=(const KilledRank&) = delete;

  void check() {
    for (int rank = 0; rank < kRanks; ++rank) start(rank);
    const auto until = std::chrono::steady_clock::now() + limit_;
    for (int rank = 0; rank < kLast; ++rank) {
      const std::string who = "rank " + std::to_string(rank);
      const std::string text =
          reports_[rank].read_all(until, "the process of rank 2 of 3 was killed, and " + who + " still waits for it after " +
                                             std::to_string(limit_.count()) + " s");
      require(text == kDone, "the process of rank 2 of 3 was killed: " + who + " " + (text.empty() ? "died, too" : text));
    }
  }

 private:
  static constexpr int kRanks = 3, kLast = 2;
  static constexpr int64_t kTimeout = 5'000'000'000;
  static constexpr const char* kDone = "was told so";

  void start(int rank) {
    const pid_t child = ::fork();
    if (child < 0) throw Error(Code::unavailable, "fork failed: there is no process to be had for a rank");
    if (child > 0) return processes_.push_back(child);
    for (int other = 0; other < kRanks; ++other)
      if (other != rank) reports_[other].close_writing();  // for they end when the other rank ends
    std::string text;
    try {
      text = live(rank);
    } catch (const std::exception& e) {
      text = std::string("failed: ") + e.what();
    }
    reports_[rank].write(text.data(), text.size());
    ::_exit(0);
  }

  // In the process of the rank.
  std::string live(int rank) const {
    LaunchedRank place;
    place.rank = place.local_rank = rank;
    place.size = place.local_size = kRanks;
    place.host = "127.0.0.1";
    if (rank > 0) ports_.read(&place.port, sizeof place.port);
    const TcpRendezvous rendezvous(place, std::chrono::seconds(20), std::chrono::seconds(0));
    const uint16_t port = rank == 0 ? rendezvous.port() : place.port;
    for (int other = 1; rank == 0 && other < kRanks; ++other) ports_.write(&port, sizeof port);
    Rank self = make_(rendezvous.view());
    self->barrier(Call(1, 4 * kTimeout));
    if (rank == kLast) die_when_all_have_met();
    met_.write("m", 1);
    return told(self);
  }
  // A rank that dies while others are still in the barrier may end that for them.
  void die_when_all_have_met() const {
    char mark = 0;
    for (int other = 0; other < kLast; ++other) met_.read(&mark, 1);
    ::kill(::getpid(), SIGKILL);
  }
  static std::string told(Rank& self) {
    Vector<float> io(std::vector<float>(1000, 1));
    const GoFirst guard(self);
    try {
      self->wait(self->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call(2, kTimeout)), kTimeout);
    } catch (const Error& e) {
      self.reset();
      if (e.code() == Code::peer_failed || e.code() == Code::timeout) return kDone;
      return "got another code than PEER_FAILED or TIMEOUT: " + std::string(e.what());
    }
    return "got a sum all the same";
  }

  const MakeCommunicator make_;
  const std::chrono::seconds limit_;
  Pipe ports_;  // on which rank 0 tells the others where it is
  Pipe met_;    // on which they tell the last that their barrier is behind them
  Pipe reports_[kRanks];
  std::vector<pid_t> processes_;
};

// Protects from: a job that stands still for ever, on machines that are paid by the hour, for one process of it was killed.
inline void killed_rank(const ComponentInfo& component, const MakeCommunicator& make) {
  if ((component.capabilities & ONEBIT_CAPABILITY_THREADS) != 0)
    throw NotApplicable("its ranks are threads of one process, and die together");
  if ((component.capabilities & ONEBIT_CAPABILITY_PROCESSES) != 0)
    throw NotApplicable("its ranks are processes that a launcher starts, which ends the job when one is killed");
  KilledRank(make).check();
}

}  // namespace onebit::conformance
