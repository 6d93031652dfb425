// SPDX-License-Identifier: Apache-2.0
// What the host does for a component: logging, metrics. Given to every constructor; valid for the life of the process.
#pragma once

#include <string_view>

#include "onebit/abi.h"
#include "onebit/error.hpp"

namespace onebit {

enum class LogLevel : int32_t {
  debug = ONEBIT_LOG_DEBUG,
  info = ONEBIT_LOG_INFO,
  warn = ONEBIT_LOG_WARN,
  error = ONEBIT_LOG_ERROR,
};

class Services {
 public:
  explicit Services(const onebit_host* host) : host_(host) {}

  void log(LogLevel level, std::string_view component, std::string_view message) const {
    if (host_ != nullptr && ONEBIT_CAN(host_, onebit_host, log))
      host_->log(host_->ctx, static_cast<int32_t>(level), str(component), str(message));
  }
  // Registered once, in the constructor; kind is ONEBIT_METRIC_*. The handle goes to record.
  int32_t metric(int32_t kind, std::string_view name) const {
    return host_ != nullptr && ONEBIT_CAN(host_, onebit_host, metric) ? host_->metric(host_->ctx, kind, str(name)) : -1;
  }
  void record(int32_t metric, double value) const {
    if (metric >= 0 && ONEBIT_CAN(host_, onebit_host, record)) host_->record(host_->ctx, metric, value);
  }

  // Something that took from begin to end, in nanoseconds of the steady clock, for the trace of a run.
  void span(std::string_view name, int64_t begin_ns, int64_t end_ns) const {
    if (host_ != nullptr && ONEBIT_CAN(host_, onebit_host, span)) host_->span(host_->ctx, str(name), begin_ns, end_ns);
  }

 private:
  const onebit_host* host_;
};

}  // namespace onebit
