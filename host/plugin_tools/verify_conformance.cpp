// SPDX-License-Identifier: Apache-2.0
// The conformance cases of a component, one after the other, each told when it ends: what follows may crash.
#include "onebit/conformance/run.hpp"
#include "plugin_tools/probe_child.hpp"
#include "plugin_tools/verify_child.hpp"

namespace onebit::host {
namespace {

namespace suites = onebit::conformance;

Check check_of(const suites::Result& result) {
  const char* outcome = result.outcome == suites::Outcome::passed    ? "passed"
                        : result.outcome == suites::Outcome::skipped ? "skipped"
                                                                     : "failed";
  return {result.component, result.name, outcome, result.text, result.seconds};
}

}  // namespace

void check_conformance(Report& report, const Registry& registry, const PluginInfo& plugin, const ComponentInfo& component,
                       const Manifest& options) {
  const std::string label = label_of(component);
  const std::string obstacle = component.kind == Kind::device ? "it is the core's own" : suites::obstacle_of(plugin, component);
  if (!obstacle.empty()) return tell(report, {label, "conformance", "skipped", obstacle});
  std::string spoiled;
  const auto attempt = [&](const suites::Trial& trial) {
    const auto before = [&report](const std::string& of, const std::string& name) {
      report.stage("case '" + name + "' of " + of);
    };
    tell(report, check_of(suites::attempt(label, trial, before, spoiled)));
  };
  std::shared_ptr<const suites::Subject> subject;
  attempt({"takes_its_options", [&] { subject = std::make_shared<const suites::Subject>(registry, component, options); }});
  if (!subject) return;
  for (const suites::Trial& trial : suites::trials_of(subject)) attempt(trial);
}

}  // namespace onebit::host
