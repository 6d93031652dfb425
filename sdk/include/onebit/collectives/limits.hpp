// SPDX-License-Identifier: Apache-2.0
// How long a communicator waits for other ranks: two limits, the same in every communicator, and their words.
//
// timeout  silence: a process of which nothing was heard for so long, no byte and no heartbeat, is dead, or its network is.
//          Heartbeats come from a thread of the communicator's, so that a rank may compute, load or sleep as long as it likes.
// stall    how long a rank that lives may take to come to a collective that others wait in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "onebit/number_text.hpp"
#include "onebit/options.hpp"

namespace onebit {

inline onebit_schema timeout_option() {
  return real_option(
      "timeout", "300", 1e-3, 1e9,
      "seconds without a sign of life (bytes or heartbeats) from another rank's process, after which it counts as "
      "dead; also the time that all ranks have to meet at the start");
}
inline onebit_schema stall_option() {
  return real_option("stall", "1800", 0, 1e9,
                     "seconds that a living rank may take to come to a collective that others wait in; 0: no limit");
}

struct Limits {
  int64_t timeout_ns = 300'000'000'000;  // 0: none, and no heartbeats
  int64_t stall_ns = 1'800'000'000'000;  // 0: none

  // Of components with these two options.
  static Limits of(const Options& options) {
    return {nanoseconds(options.real("timeout")), nanoseconds(options.real("stall"))};
  }
  static int64_t nanoseconds(double seconds) {
    return seconds > 0 ? std::max(int64_t{1}, static_cast<int64_t>(std::min(seconds, 1e9) * 1e9)) : 0;
  }
};

// "0.25 s", "1800 s"
inline std::string seconds_text(int64_t ns) { return number_text(static_cast<double>(ns) / 1e9) + " s"; }
// What to do about a limit that was reached; of timeout, when the ranks meet.
inline constexpr const char* raise_stall = " (if it may take longer, raise communicator.stall; 0: no limit)";
inline constexpr const char* raise_timeout = " (if it may take longer, raise communicator.timeout)";

// who: "rank 1" or "ranks 1, 3".
inline std::string silence_text(const std::string& who, int64_t timeout_ns) {
  return "waited for " + who + ", of which nothing was heard for " + seconds_text(timeout_ns) +
         ", not even a heartbeat: dead, stopped or cut off (if it may be silent for longer, raise communicator.timeout)";
}
// came: they are in the collective, but their bytes do not move.
inline std::string stall_text(const std::string& who, int64_t stall_ns, bool came) {
  return "waited " + seconds_text(stall_ns) + " for " + who + (came ? ", which moved no bytes" : ", which did not come") +
         ", though alive" + raise_stall;
}

// When each peer was heard of last, and when to send a heartbeat. Time in which the owner itself did not look, for it was
// stopped or had no core, counts against nobody.
class SignsOfLife {
 public:
  using Time = std::chrono::steady_clock::time_point;

  SignsOfLife(size_t peers, int64_t timeout_ns, Time now)
      : timeout_(timeout_ns),
        interval_(timeout_ns == 0 ? std::chrono::seconds(2)
                                  : std::clamp<std::chrono::nanoseconds>(timeout_ / 8, std::chrono::milliseconds(1),
                                                                         std::chrono::seconds(2))),
        heard_(peers, now),
        looked_(now),
        next_(now + interval_) {}

  void hear(size_t peer, Time now) { heard_[peer] = std::max(heard_[peer], now); }
  // The owner has taken in whatever had come from anybody.
  void look(Time now) {
    if (const auto away = now - looked_; away > 2 * interval_)
      for (Time& heard : heard_) heard = std::min(now, heard + away);
    looked_ = now;
  }
  bool silent(size_t peer) const { return timeout_.count() > 0 && looked_ - heard_[peer] >= timeout_; }

  // Heartbeats, and looks, come so often.
  std::chrono::nanoseconds interval() const { return interval_; }
  // Whether heartbeats are to go out now.
  bool due(Time now) {
    if (timeout_.count() == 0 || now < next_) return false;
    next_ = now + interval_;
    return true;
  }
  // When they are; an hour from now where there are none.
  Time next(Time now) const { return timeout_.count() == 0 ? now + std::chrono::hours(1) : next_; }

 private:
  std::chrono::nanoseconds timeout_, interval_;
  std::vector<Time> heard_;
  Time looked_, next_;
};

// Why a wait is over, "" while it is not, and when to ask again.
struct Lateness {
  std::string why;
  SignsOfLife::Time ask_again;
};

// A time so long after another that the clock does not overflow: 30 years at most.
inline constexpr int64_t longest_wait_ns = 1'000'000'000'000'000'000;
inline SignsOfLife::Time later(SignsOfLife::Time start, int64_t ns) {
  return start + std::chrono::nanoseconds(std::min(ns, longest_wait_ns));
}

// By a call's own limit, within which nothing came from those that are missing. who: "rank 1". last: when something did.
inline Lateness lateness_by_call(const std::string& who, SignsOfLife::Time last, int64_t limit_ns, SignsOfLife::Time now) {
  const auto end = limit_ns == 0 ? later(now, longest_wait_ns) : later(last, limit_ns);
  return {now < end ? "" : "waited " + seconds_text(limit_ns) + " for " + who, end};
}

// By the communicator's limits. missing: the ranks that are waited for; peer(rank): its number in signs; met(rank): it has
// come; text(ranks): "rank 1"; last: when the wait began, or bytes moved.
template <class Peer, class Met, class Text>
Lateness lateness_by_limits(const Limits& limits, const SignsOfLife& signs, const std::vector<int>& missing, Peer&& peer,
                            Met&& met, Text&& text, SignsOfLife::Time last, SignsOfLife::Time now) {
  std::vector<int> silent, absent;
  for (const int rank : missing) {
    if (signs.silent(peer(rank))) silent.push_back(rank);
    if (!met(rank)) absent.push_back(rank);
  }
  if (!silent.empty()) return {silence_text(text(silent), limits.timeout_ns), {}};
  const auto end = limits.stall_ns == 0 ? later(now, longest_wait_ns) : later(last, limits.stall_ns);
  if (now >= end) return {stall_text(text(absent.empty() ? missing : absent), limits.stall_ns, absent.empty()), {}};
  return {"", std::min(end, now + signs.interval())};
}

}  // namespace onebit
