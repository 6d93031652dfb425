// Adds the seconds of a scope to a total.
#pragma once

#include <chrono>

namespace onebit {

class Lap {
 public:
  explicit Lap(double& total) : total_(total) {}
  ~Lap() { total_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Lap(const Lap&) = delete;
  Lap& operator=(const Lap&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& total_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace onebit
