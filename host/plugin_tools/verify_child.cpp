// SPDX-License-Identifier: Apache-2.0
// The order of things: the file, the tables, then the conformance cases of every component.
#include "plugin_tools/verify_child.hpp"

#include "plugin_tools/plugins_command.hpp"
#include "plugin_tools/probe_child.hpp"

namespace onebit::host {
namespace {

// The plugin, or NULL when it can't be loaded.
const PluginInfo* loaded(Report& report, Registry& registry, const std::filesystem::path& file) {
  const PluginInfo* plugin = nullptr;
  const std::string refused =
      report.failure_of([&] { plugin = &registry.load(file, [&](LoadStage stage) { report.stage(stage); }); });
  const bool good = refused.empty();
  tell(report, {"plugin", "loads", good ? "passed" : "failed", good ? plugin->name + " " + plugin->version : refused});
  return plugin;
}

void check_all(Report& report, const Registry& registry, const PluginInfo& plugin, const Manifest& options) {
  report.stage("the check of its exports");
  tell(report, check_exports(plugin.file));
  report.stage("the check of its tables");
  tell(report, check_abi(plugin));
  for (const ComponentInfo& component : plugin.components) tell(report, check_schema(component));
  for (const ComponentInfo& component : plugin.components) check_conformance(report, registry, plugin, component, options);
}

}  // namespace

void tell(const Report& report, const Check& check) {
  report.tell({{"check",
                {{"subject", check.subject},
                 {"name", check.name},
                 {"outcome", check.outcome},
                 {"text", check.text},
                 {"seconds", check.seconds}}}});
}

void verify_here(Report& report, const std::filesystem::path& file, const std::vector<std::string>& owners,
                 const std::vector<std::string>& overrides, const std::shared_ptr<spdlog::logger>& logger) {
  Registry registry(logger);
  trust(registry, owners);
  const Manifest options = Manifest::parse("", "verify", std::filesystem::current_path(), overrides);
  if (const PluginInfo* plugin = loaded(report, registry, file)) {
    const std::string failure = report.failure_of([&] { check_all(report, registry, *plugin, options); });
    if (!failure.empty()) tell(report, {"plugin", "checks", "failed", failure});
  }
  report.stage("its shutdown");
}

}  // namespace onebit::host
