// How plugins are shown, to people and to programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "onebit/registry.hpp"

namespace onebit::host {

nlohmann::ordered_json json_of(const PluginInfo& plugin);
nlohmann::ordered_json json_of(const Registry& registry);
// One line a component.
std::string summary_of(const PluginInfo& plugin);
// The whole: components and options.
std::string description_of(const PluginInfo& plugin);

}  // namespace onebit::host
