// SPDX-License-Identifier: Apache-2.0
// Metrics: counters (added up), gauges (last value) and histograms (count, sum, min, max), registered once by name and recorded
// by handle. Recording is lock-free and allocates nothing; reading takes a snapshot.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <limits>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "onebit/abi.h"

namespace onebit {

struct MetricSnapshot {
  std::string name;
  int32_t kind;  // ONEBIT_METRIC_*
  uint64_t count;
  double value;             // counter and histogram: the sum; gauge: the last value
  double minimum, maximum;  // 0 when nothing was recorded
};

class Metrics {
 public:
  // The handle of a name; registering a name again, with the same kind, answers the same handle. -1: the name has another kind,
  // the kind is unknown, or all handles are taken.
  int32_t add(int32_t kind, std::string_view name);
  // A handle that add did not give is ignored.
  void record(int32_t handle, double value);
  std::vector<MetricSnapshot> snapshot() const;

 private:
  struct Metric {
    std::string name;
    int32_t kind = 0;
    std::atomic<uint64_t> count{0};
    std::atomic<double> value{0};
    std::atomic<double> minimum{std::numeric_limits<double>::infinity()};
    std::atomic<double> maximum{-std::numeric_limits<double>::infinity()};
  };
  mutable std::mutex mutex_;  // registration and snapshots
  std::deque<Metric> metrics_;
  std::atomic<Metric*> by_handle_[256] = {};
};

}  // namespace onebit
