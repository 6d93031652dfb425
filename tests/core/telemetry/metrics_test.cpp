// SPDX-License-Identifier: Apache-2.0
// Metrics: registration, the three kinds, and recording from many threads.
#include "onebit/metrics.hpp"

#include <doctest/doctest.h>

#include <thread>

using onebit::Metrics;

TEST_CASE("a name has one handle and one kind") {
  Metrics metrics;
  const int32_t bytes = metrics.add(ONEBIT_METRIC_COUNTER, "bytes");
  CHECK(bytes == 0);
  CHECK(metrics.add(ONEBIT_METRIC_GAUGE, "lr") == 1);
  CHECK(metrics.add(ONEBIT_METRIC_COUNTER, "bytes") == bytes);
  CHECK(metrics.add(ONEBIT_METRIC_GAUGE, "bytes") == -1);
  CHECK(metrics.add(0, "x") == -1);
  CHECK(metrics.add(4, "x") == -1);
  CHECK(metrics.snapshot().size() == 2);
}

TEST_CASE("counters add, gauges keep the last, histograms know their extremes") {
  Metrics metrics;
  const int32_t counter = metrics.add(ONEBIT_METRIC_COUNTER, "c"), gauge = metrics.add(ONEBIT_METRIC_GAUGE, "g"),
                histogram = metrics.add(ONEBIT_METRIC_HISTOGRAM, "h");
  metrics.add(ONEBIT_METRIC_HISTOGRAM, "untouched");
  for (const double v : {3.0, -2.0, 5.0})
    for (const int32_t handle : {counter, gauge, histogram}) metrics.record(handle, v);
  const auto seen = metrics.snapshot();
  CHECK(seen[0].value == 6);
  CHECK(seen[1].value == 5);
  CHECK(seen[2].value == 6);
  CHECK(seen[2].count == 3);
  CHECK(seen[2].minimum == -2);
  CHECK(seen[2].maximum == 5);
  CHECK(seen[2].name == "h");
  CHECK(seen[3].count == 0);
  CHECK(seen[3].minimum == 0);
  CHECK(seen[3].maximum == 0);
}

TEST_CASE("handles that were never given are ignored, and handles run out without harm") {
  Metrics metrics;
  for (const int32_t handle : {-1, 0, 255, 256, 1 << 30, INT32_MIN}) metrics.record(handle, 1);
  for (int i = 0; i < 256; ++i) CHECK(metrics.add(ONEBIT_METRIC_COUNTER, std::to_string(i)) == i);
  CHECK(metrics.add(ONEBIT_METRIC_COUNTER, "one more") == -1);
  CHECK(metrics.add(ONEBIT_METRIC_COUNTER, "7") == 7);
}

TEST_CASE("threads lose nothing") {
  Metrics metrics;
  const int32_t histogram = metrics.add(ONEBIT_METRIC_HISTOGRAM, "h");
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      const int32_t own = metrics.add(ONEBIT_METRIC_COUNTER, "own " + std::to_string(t % 4));
      for (int i = 0; i < 1000; ++i) {
        metrics.record(histogram, t * 1000 + i);
        metrics.record(own, 1);
        if (i % 100 == 0) CHECK(metrics.snapshot().size() >= 2);
      }
    });
  for (std::thread& thread : threads) thread.join();
  const auto seen = metrics.snapshot();
  CHECK(seen[0].count == 8000);
  CHECK(seen[0].value == 7999.0 * 8000 / 2);
  CHECK(seen[0].minimum == 0);
  CHECK(seen[0].maximum == 7999);
  for (size_t i = 1; i < seen.size(); ++i) CHECK(seen[i].value == 2000);
}
