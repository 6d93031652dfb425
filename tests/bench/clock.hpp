// SPDX-License-Identifier: Apache-2.0
// Seconds that some work takes, alone or on several threads that start together.
#pragma once

#include <barrier>
#include <chrono>
#include <thread>
#include <vector>

namespace onebit::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

template <class F>
double seconds_of(F&& work) {
  const auto start = Clock::now();
  work();
  return seconds_since(start);
}

// work(thread) on each of them; the clock runs from their common start to the end of the last.
template <class F>
double seconds_on(int threads, F&& work) {
  if (threads == 1) return seconds_of([&] { work(0); });
  std::barrier<> start(threads + 1), end(threads + 1);
  std::vector<std::jthread> team;
  for (int thread = 0; thread < threads; ++thread) {
    team.emplace_back([&, thread] {
      start.arrive_and_wait();
      work(thread);
      end.arrive_and_wait();
    });
  }
  start.arrive_and_wait();
  return seconds_of([&] { end.arrive_and_wait(); });
}

}  // namespace onebit::bench
