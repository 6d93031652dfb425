// SPDX-License-Identifier: Apache-2.0
// Lines wait, and of too many the oldest go.
#include "c_api/log_queue.hpp"

#include <utility>

#include "onebit/abi.h"

namespace onebit::c_api {
namespace {

int level_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return ONEBIT_LOG_DEBUG;
    case spdlog::level::info:
      return ONEBIT_LOG_INFO;
    case spdlog::level::warn:
      return ONEBIT_LOG_WARN;
    default:
      return ONEBIT_LOG_ERROR;
  }
}

}  // namespace

void LogQueue::sink_it_(const spdlog::details::log_msg& message) {
  lines_.push_back({level_of(message.level), std::string(message.payload.begin(), message.payload.end())});
  if (lines_.size() <= kMostLines) return;
  lines_.pop_front();
  ++dropped_;
}

LogLine LogQueue::take() {
  const std::lock_guard lock(mutex_);
  if (const size_t dropped = std::exchange(dropped_, 0); dropped > 0)
    return {ONEBIT_LOG_WARN, std::to_string(dropped) + " older lines of the log were dropped, for nobody took them"};
  if (lines_.empty()) return {};
  LogLine oldest = std::move(lines_.front());
  lines_.pop_front();
  return oldest;
}

}  // namespace onebit::c_api
