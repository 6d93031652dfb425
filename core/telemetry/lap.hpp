// SPDX-License-Identifier: Apache-2.0
// Adds the seconds of a scope to a total, and marks it in the trace where there is one.
#pragma once

#include <chrono>
#include <cstdint>

#include "telemetry/trace.hpp"

namespace onebit {

struct Mark {
  Trace* trace = nullptr;
  const char* name = "";
  int64_t bucket = -1;
};

class Lap {
 public:
  explicit Lap(double& total, const Mark& mark = {}) : total_(total), mark_(mark) {}
  ~Lap() {
    const Clock::time_point end = Clock::now();
    total_ += std::chrono::duration<double>(end - start_).count();
    if (mark_.trace != nullptr) mark_.trace->own(mark_.name, nanoseconds(start_), nanoseconds(end), mark_.bucket);
  }
  Lap(const Lap&) = delete;
  Lap& operator=(const Lap&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  static int64_t nanoseconds(Clock::time_point at) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
  }
  double& total_;
  Mark mark_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace onebit
