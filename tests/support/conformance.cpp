// SPDX-License-Identifier: Apache-2.0
#include "support/conformance.hpp"

#include "onebit/conformance/run.hpp"

namespace onebit::test {

std::vector<ConformanceResult> run_conformance(const Registry& registry, const PluginInfo& plugin, const Manifest& options) {
  using conformance::Outcome;
  std::vector<ConformanceResult> results;
  for (const conformance::Result& one : conformance::run(registry, plugin, options))
    results.push_back(
        {one.component, one.name, one.outcome == Outcome::passed, one.outcome == Outcome::failed, one.text, one.seconds});
  return results;
}

}  // namespace onebit::test
