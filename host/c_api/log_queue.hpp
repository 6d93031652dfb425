// SPDX-License-Identifier: Apache-2.0
// A log that waits to be taken: spdlog's sink, for those who call us and must not be called.
#pragma once

#include <spdlog/sinks/base_sink.h>

#include <deque>
#include <mutex>
#include <string>

namespace onebit::c_api {

struct LogLine {
  int level = 0;  // ONEBIT_LOG_; 0: there is no line
  std::string text;
};

class LogQueue final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  static constexpr size_t kMostLines = 1000;
  // The oldest line, or that some were dropped.
  LogLine take();

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}

  std::deque<LogLine> lines_;
  size_t dropped_ = 0;
};

}  // namespace onebit::c_api
