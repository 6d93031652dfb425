// SPDX-License-Identifier: Apache-2.0
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
#include <memory>
#include <string>
#include <vector>

#include "onebit/conformance/compressor.hpp"
#include "onebit/conformance/optimizer.hpp"
#include "onebit/conformance/runner/component.hpp"
#include "onebit/conformance/runner/killed_rank.hpp"
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

// Ranks that are started by a launcher: one communicator for all cases, for a process can't leave and come again.
inline std::vector<Trial> trials_of_launched(const std::shared_ptr<const Subject>& subject) {
  std::vector<Trial> trials;
  const auto self = std::make_shared<Rank>();
  for (const CommunicatorCase& one : communicator_cases)
    trials.push_back({one.name, [subject, self, &one] {
                        if (!*self) *self = subject->communicator(no_rendezvous());
                        const std::string text = outcome_on(*self, one.run);
                        if (!text.empty()) throw Hangs(text);  // the ranks are out of step
                        (*self)->barrier(Call());
                      }});
  return trials;
}
inline std::vector<Trial> trials_of_communicator(const std::shared_ptr<const Subject>& subject) {
  const MakeCommunicator make = [subject](const onebit_rendezvous& at) { return subject->communicator(at); };
  std::vector<Trial> trials = {{"killed_rank", [subject, make] { killed_rank(*subject->info, make); }}};
  if ((subject->info->capabilities & ONEBIT_CAPABILITY_PROCESSES) != 0) {
    for (Trial& trial : trials_of_launched(subject)) trials.push_back(std::move(trial));
    return trials;
  }
  for (const CommunicatorCase& one : communicator_cases)
    trials.push_back({one.name, [make, &one] { run_on_threads(make, one.run); }});
  return trials;
}
// All cases of a component, in their order. killed_rank comes first: it forks, while there are no other threads.
inline std::vector<Trial> trials_of(const std::shared_ptr<const Subject>& subject) {
  if (subject->info->kind == Kind::communicator) return trials_of_communicator(subject);
  std::vector<Trial> trials;
  if (subject->info->kind == Kind::optimizer)
    for (const OptimizerCase& one : optimizer_cases)
      trials.push_back({one.name, [subject, &one] { one.run([subject] { return subject->optimizer(); }); }});
  if (subject->info->kind == Kind::compressor)
    for (const CompressorCase& one : compressor_cases)
      trials.push_back({one.name, [subject, &one] { one.run([subject] { return subject->compressor(); }); }});
  return trials;
}

// Why the suites can't try a component; "" where they can.
inline std::string obstacle_of(const PluginInfo& plugin, const ComponentInfo& component) {
  if (!plugin.unavailable.empty()) return "not available here: " + plugin.unavailable;
  if (component.device != ONEBIT_DEVICE_CPU) return "the suites work in the memory of the CPU";
  return "";
}

// spoiled: why the cases that follow can't be tried; set where one hangs.
inline Result attempt(const std::string& label, const Trial& trial, const Before& before, std::string& spoiled) {
  if (before) before(label, trial.name);
  const auto begin = std::chrono::steady_clock::now();
  Result result = {label, trial.name, Outcome::passed, "", 0};
  try {
    if (!spoiled.empty()) throw NotApplicable(spoiled);
    trial.body();
  } catch (const NotApplicable& e) {
    result.outcome = Outcome::skipped;
    result.text = e.what();
  } catch (const std::exception& e) {
    result.outcome = Outcome::failed;
    result.text = e.what();
    if (dynamic_cast<const Hangs*>(&e) != nullptr) spoiled = "ranks are out of step, or hang, since the case " + trial.name;
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

// Of one component; only: the one case to run; "": all.
inline std::vector<Result> run(const Registry& registry, const PluginInfo& plugin, const ComponentInfo& component,
                               const Manifest& options, const Before& before = {}, const std::string& only = "") {
  const std::string label = label_of(component), obstacle = obstacle_of(plugin, component);
  if (!obstacle.empty()) return {{label, only.empty() ? "all cases" : only, Outcome::skipped, obstacle, 0}};
  std::shared_ptr<const Subject> subject;
  std::string spoiled;
  const Trial first = {"takes_its_options", [&] { subject = std::make_shared<const Subject>(registry, component, options); }};
  std::vector<Result> results = {attempt(label, first, before, spoiled)};
  if (!subject) return results;
  for (const Trial& trial : trials_of(subject))
    if (only.empty() || only == trial.name) results.push_back(attempt(label, trial, before, spoiled));
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
