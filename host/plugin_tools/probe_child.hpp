// SPDX-License-Identifier: Apache-2.0
// `onebit plugins probe`, the part that runs the plugin, in a process of its own.
#pragma once

#include <spdlog/logger.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "plugin_tools/plugins_report.hpp"

namespace onebit::host {

// How a component is called where it is tried: "optimizer 'adam'".
std::string label_of(const ComponentInfo& component);

// Loads the file, makes one of each component and lets go of it. Tells {"plugin": ...} or {"refused": "why"}, then for each
// component {"component": {"kind", "name", "device", "created", "reason"}}.
void probe_here(Report& report, const std::filesystem::path& file, const std::vector<std::string>& owners,
                const std::shared_ptr<spdlog::logger>& logger);

}  // namespace onebit::host
