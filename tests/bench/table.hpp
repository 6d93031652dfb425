// SPDX-License-Identifier: Apache-2.0
// The table that people read. --benchmark_format and --benchmark_out give the same figures to programs.
#pragma once

#include <benchmark/benchmark.h>

namespace onebit::bench {

class Table final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
};

}  // namespace onebit::bench
