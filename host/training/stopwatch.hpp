// SPDX-License-Identifier: Apache-2.0
// Seconds, of the spans that it was told to count.
#pragma once

#include <chrono>

namespace onebit::host {

class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;

  void start() {
    began_ = Clock::now();
    running_ = true;
  }
  // Of a run that goes on: what lies behind.
  void go_on(double seconds) { before_ = seconds; }
  void stop() {
    before_ = seconds();
    running_ = false;
  }
  double seconds() const { return before_ + (running_ ? between(began_, Clock::now()) : 0); }

  static double between(Clock::time_point begin, Clock::time_point end) {
    return std::chrono::duration<double>(end - begin).count();
  }

 private:
  Clock::time_point began_{};
  double before_ = 0;
  bool running_ = false;
};

}  // namespace onebit::host
