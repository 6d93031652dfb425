// SPDX-License-Identifier: Apache-2.0
// How plugins are shown.
#include <fmt/core.h>

#include "command/output.hpp"
#include "plugin_tools/plugins_command.hpp"

namespace onebit::host {
namespace {

using Json = nlohmann::ordered_json;

std::string types_of(const onebit_schema& schema) {
  std::string text;
  const std::pair<int64_t, const char*> names[] = {{ONEBIT_VALUE_BOOL, "boolean"},
                                                   {ONEBIT_VALUE_INT, "integer"},
                                                   {ONEBIT_VALUE_FLOAT, "number"},
                                                   {ONEBIT_VALUE_STRING, "string"}};
  for (const auto& [bit, name] : names)
    if ((schema.types & bit) != 0) text += (text.empty() ? "" : " or ") + std::string(name);
  return schema.array_max > 0 ? "array of " + text + "s" : text;
}

bool has_range(const onebit_schema& schema) { return (schema.types & (ONEBIT_VALUE_INT | ONEBIT_VALUE_FLOAT)) != 0; }

Json option_json(const onebit_schema& schema) {
  Json json = {{"key", view(schema.key)}, {"type", types_of(schema)}, {"help", view(schema.help)}};
  json["default"] = schema.fallback.size == 0 ? Json() : Json(view(schema.fallback));
  if (has_range(schema)) json["range"] = {schema.minimum, schema.maximum};
  if (schema.choices.size > 0) json["choices"] = view(schema.choices);
  if (schema.array_max > 0) json["array_max"] = schema.array_max;
  return json;
}

Json component_json(const ComponentInfo& component) {
  Json options = Json::array();
  for (const onebit_schema* schema : component.options) options.push_back(option_json(*schema));
  return {{"kind", name_of(component.kind)},
          {"name", component.name},
          {"device", device_name(component.device)},
          {"options", std::move(options)}};
}

std::string print_of(const onebit_schema& schema) {
  std::string text = fmt::format("    {} ({}", view(schema.key), types_of(schema));
  if (has_range(schema)) text += fmt::format(", {} to {}", schema.minimum, schema.maximum);
  if (schema.choices.size > 0) text += fmt::format(", one of {}", view(schema.choices));
  if (schema.array_max > 0) text += fmt::format(", at most {} of them", schema.array_max);
  text += schema.fallback.size == 0 ? ", required)" : fmt::format(", default {})", view(schema.fallback));
  return fmt::format("{}\n        {}\n", text, view(schema.help));
}

}  // namespace

nlohmann::ordered_json json_of(const PluginInfo& plugin) {
  Json components = Json::array();
  for (const ComponentInfo& component : plugin.components) components.push_back(component_json(component));
  return {{"name", plugin.name},
          {"version", plugin.version},
          {"file", plugin.file.string()},
          {"abi", fmt::format("{}.{}", ONEBIT_ABI_MAJOR, plugin.abi_minor)},
          {"toolchain", plugin.toolchain},
          {"available", plugin.unavailable.empty()},
          {"unavailable", plugin.unavailable},
          {"components", std::move(components)}};
}

nlohmann::ordered_json json_of(const Registry& registry) {
  Json plugins = Json::array(), failures = Json::array();
  for (const PluginInfo& plugin : registry.plugins()) plugins.push_back(json_of(plugin));
  for (const LoadFailure& failure : registry.failures())
    failures.push_back({{"file", failure.file.string()}, {"reason", failure.reason}});
  return {{"plugins", std::move(plugins)}, {"failures", std::move(failures)}};
}

std::string summary_of(const PluginInfo& plugin) {
  std::string text;
  for (const ComponentInfo& component : plugin.components)
    text += fmt::format("{:<13} {:<20} {:<5} {} {}{}\n", name_of(component.kind), component.name, device_name(component.device),
                        plugin.version, plugin.file.string(),
                        plugin.unavailable.empty() ? "" : " (unavailable: " + plugin.unavailable + ")");
  return text;
}

std::string description_of(const PluginInfo& plugin) {
  std::string text = fmt::format("{} {}\n  file       {}\n  ABI        {}.{}\n  toolchain  {}\n", plugin.name, plugin.version,
                                 plugin.file.string(), ONEBIT_ABI_MAJOR, plugin.abi_minor, plugin.toolchain);
  text += "  available  " + (plugin.unavailable.empty() ? "yes" : "no: " + plugin.unavailable) + "\n";
  for (const ComponentInfo& component : plugin.components) {
    text += fmt::format("\n  {} '{}' for {}\n", name_of(component.kind), component.name, device_name(component.device));
    for (const onebit_schema* schema : component.options) text += print_of(*schema);
    if (component.options.empty()) text += "    no options\n";
  }
  return text;
}

void print_json(const nlohmann::ordered_json& json) { print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"); }

}  // namespace onebit::host
