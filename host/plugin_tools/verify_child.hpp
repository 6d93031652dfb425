// SPDX-License-Identifier: Apache-2.0
// `onebit plugins verify`, the part that runs the plugin, in a process of its own.
#pragma once

#include <spdlog/logger.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "plugin_tools/plugins_report.hpp"

namespace onebit::host {

// One thing that was looked at.
struct Check {
  std::string subject;  // "plugin", or "optimizer 'adam'"
  std::string name;     // "exports"
  std::string outcome;  // "passed", "warning", "failed" or "skipped"
  std::string text;     // why; with "passed" what was found, or nothing
  double seconds = 0;
};

// {"check": {...}}, with these members.
void tell(const Report& report, const Check& check);

// Tells each check. overrides: "kind.key=value", for options without a
// default.
void verify_here(Report& report, const std::filesystem::path& file, const std::vector<std::string>& owners,
                 const std::vector<std::string>& overrides, const std::shared_ptr<spdlog::logger>& logger);

// What can be told without calling anything of the plugin's: what its file exports, and the tables that it gave.
Check check_exports(const std::filesystem::path& file);
Check check_abi(const PluginInfo& plugin);
Check check_schema(const ComponentInfo& component);

// Calls it: the suites of onebit/conformance.
void check_conformance(Report& report, const Registry& registry, const PluginInfo& plugin, const ComponentInfo& component,
                       const Manifest& options);

}  // namespace onebit::host
