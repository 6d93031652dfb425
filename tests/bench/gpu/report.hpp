// SPDX-License-Identifier: Apache-2.0
// The table that people read, line by line as it comes, and the same figures for programs.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>

#include "bench.hpp"
#include "memory_rows.hpp"

namespace onebit::gpu_bench {

class Report {
 public:
  explicit Report(std::ostream& out) : out_(out) {}
  void begin(const Bench& bench);
  void add(const Result& result);
  void begin_memory();
  void add(const Held& held);
  bool failed() const { return failed_; }
  const nlohmann::ordered_json& json() const { return json_; }

 private:
  std::ostream& out_;
  nlohmann::ordered_json json_;
  bool failed_ = false;
};

}  // namespace onebit::gpu_bench
