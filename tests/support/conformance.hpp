// SPDX-License-Identifier: Apache-2.0
// The conformance suites over a library, compiled once for all test programs that run them (link onebit_test_conformance).
#pragma once

#include <string>
#include <vector>

#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"

namespace onebit::test {

struct ConformanceResult {
  std::string component, name;
  bool passed = false, failed = false;  // neither: skipped
  std::string text;                     // what was unmet, or why it was skipped
  double seconds = 0;
};

// Every case of every component of the plugin that can be used on this machine; as onebit::conformance::run.
std::vector<ConformanceResult> run_conformance(const Registry& registry, const PluginInfo& plugin, const Manifest& options);

}  // namespace onebit::test
