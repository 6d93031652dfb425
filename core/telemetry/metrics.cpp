// SPDX-License-Identifier: Apache-2.0
// Metrics: registration under a mutex, recording with atomics alone.
#include "onebit/metrics.hpp"

#include <iterator>

namespace onebit {
namespace {

template <class Better>
void improve(std::atomic<double>& best, double value, Better better) {
  double seen = best.load(std::memory_order_relaxed);
  while (better(value, seen) && !best.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

}  // namespace

int32_t Metrics::add(int32_t kind, std::string_view name) {
  if (kind < ONEBIT_METRIC_COUNTER || kind > ONEBIT_METRIC_HISTOGRAM) return -1;
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < metrics_.size(); ++i)
    if (metrics_[i].name == name) return metrics_[i].kind == kind ? static_cast<int32_t>(i) : -1;
  if (metrics_.size() == std::size(by_handle_)) return -1;
  Metric& metric = metrics_.emplace_back();
  metric.name = name;
  metric.kind = kind;
  by_handle_[metrics_.size() - 1].store(&metric, std::memory_order_release);
  return static_cast<int32_t>(metrics_.size() - 1);
}

void Metrics::record(int32_t handle, double value) {
  if (handle < 0 || static_cast<size_t>(handle) >= std::size(by_handle_)) return;
  Metric* const metric = by_handle_[handle].load(std::memory_order_acquire);
  if (metric == nullptr) return;
  if (metric->kind == ONEBIT_METRIC_GAUGE)
    metric->value.store(value, std::memory_order_relaxed);
  else
    metric->value.fetch_add(value, std::memory_order_relaxed);
  improve(metric->minimum, value, [](double a, double b) { return a < b; });
  improve(metric->maximum, value, [](double a, double b) { return a > b; });
  metric->count.fetch_add(1, std::memory_order_relaxed);
}

std::vector<MetricSnapshot> Metrics::snapshot() const {
  const std::lock_guard lock(mutex_);
  std::vector<MetricSnapshot> out;
  out.reserve(metrics_.size());
  for (const Metric& metric : metrics_) {
    const uint64_t count = metric.count.load(std::memory_order_relaxed);
    out.push_back({metric.name, metric.kind, count, metric.value.load(std::memory_order_relaxed),
                   count ? metric.minimum.load(std::memory_order_relaxed) : 0,
                   count ? metric.maximum.load(std::memory_order_relaxed) : 0});
  }
  return out;
}

}  // namespace onebit
