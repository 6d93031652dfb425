// Runs the conformance suites over a library: every case of every component in it that can be used on this machine.
//
//   onebit::Registry registry;
//   const onebit::PluginInfo& plugin = registry.load("onebit_plugin_mine.so");
//   for (const auto& result : onebit::conformance::run(registry, plugin, onebit::Manifest::parse("", "none", "."))) ...
//
// Needs the core (CMake: onebit::conformance); the suites themselves need the SDK alone. A component that crashes takes this
// process along, one that hangs stays in its case: `onebit plugins verify` runs this in a process of its own.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "onebit/conformance/compressor.hpp"
#include "onebit/conformance/optimizer.hpp"
#include "onebit/conformance/runner/component.hpp"
#include "onebit/conformance/runner/ranks.hpp"

namespace onebit::conformance {

enum class Outcome { passed, failed, skipped };
struct Result {
  std::string component, name;  // "optimizer adam", "deterministic"
  Outcome outcome;
  std::string text;  // what was unmet, or why it was skipped
  double seconds;
};
// Is told what begins, so that a parent process knows in what its child crashed.
using Before = std::function<void(const std::string& component, const std::string& name)>;

// One case of one component.
struct Trial {
  std::string name;
  std::function<void()> body;
};

// All cases of a component, in their order; they use subject, which outlives them.
inline std::vector<Trial> trials_of(const Subject& subject) {
  std::vector<Trial> trials;
  const Subject* const it = &subject;
  if (subject.info->kind == Kind::optimizer)
    for (const OptimizerCase& one : optimizer_cases)
      trials.push_back({one.name, [it, &one] { one.run([it] { return it->optimizer(); }); }});
  if (subject.info->kind == Kind::compressor)
    for (const CompressorCase& one : compressor_cases)
      trials.push_back({one.name, [it, &one] { one.run([it] { return it->compressor(); }); }});
  if (subject.info->kind == Kind::communicator)
    for (const CommunicatorCase& one : communicator_cases) trials.push_back({one.name, [it, &one] { run_on_ranks(*it, one); }});
  return trials;
}

// Why the suites can't try a component; "" where they can.
inline std::string obstacle_of(const PluginInfo& plugin, const ComponentInfo& component) {
  if (!plugin.unavailable.empty()) return "not available here: " + plugin.unavailable;
  if (component.device != ONEBIT_DEVICE_CPU) return "the suites work in the memory of the CPU";
  return "";
}

inline Result attempt(const std::string& label, const Trial& trial, const Before& before) {
  if (before) before(label, trial.name);
  const auto begin = std::chrono::steady_clock::now();
  Result result = {label, trial.name, Outcome::passed, "", 0};
  try {
    trial.body();
  } catch (const NotApplicable& e) {
    result.outcome = Outcome::skipped;
    result.text = e.what();
  } catch (const std::exception& e) {
    result.outcome = Outcome::failed;
    result.text = e.what();
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

// Of one component; only: the one case to run; "": all.
inline std::vector<Result> run(const Registry& registry, const PluginInfo& plugin, const ComponentInfo& component,
                               const Manifest& options, const Before& before = {}, const std::string& only = "") {
  const std::string label = label_of(component), obstacle = obstacle_of(plugin, component);
  if (!obstacle.empty()) return {{label, only.empty() ? "all cases" : only, Outcome::skipped, obstacle, 0}};
  std::unique_ptr<Subject> subject;
  std::vector<Result> results = {attempt(
      label, {"takes_its_options", [&] { subject = std::make_unique<Subject>(registry, component, options); }}, before)};
  if (!subject) return results;
  for (const Trial& trial : trials_of(*subject))
    if (only.empty() || only == trial.name) results.push_back(attempt(label, trial, before));
  return results;
}

// options: a manifest with tables [optimizer], [compressor] and [communicator], for options that have no default, or are to be
// tried; each component gets the table of its kind.
inline std::vector<Result> run(const Registry& registry, const PluginInfo& plugin, const Manifest& options,
                               const Before& before = {}) {
  std::vector<Result> results;
  for (const ComponentInfo& component : plugin.components)
    for (Result& result : run(registry, plugin, component, options, before)) results.push_back(std::move(result));
  return results;
}

}  // namespace onebit::conformance
