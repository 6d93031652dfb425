// SPDX-License-Identifier: Apache-2.0
// What the host does for plugins: onebit_host over a logger, metrics and traces. Plugins may keep the pointer for the life of
// the process, so services are made once a registry and never destroyed.
#pragma once

#include <spdlog/logger.h>

#include <memory>

#include "onebit/abi.h"
#include "onebit/metrics.hpp"
#include "telemetry/trace.hpp"

namespace onebit {

class HostServices {
 public:
  // Immortal. logger: never NULL.
  static HostServices& make(std::shared_ptr<spdlog::logger> logger);

  const onebit_host* table() const { return &table_; }
  // For objects that only rehearse: the same, but what they log and measure goes nowhere.
  const onebit_host* quiet_table() const { return &quiet_table_; }
  Metrics& metrics() { return metrics_; }
  Traces& traces() { return traces_; }
  const std::shared_ptr<spdlog::logger>& logger() const { return logger_; }

 private:
  explicit HostServices(std::shared_ptr<spdlog::logger> logger);

  std::shared_ptr<spdlog::logger> logger_;
  Metrics metrics_;
  Traces traces_;
  onebit_host table_{}, quiet_table_{};
};

}  // namespace onebit
