// SPDX-License-Identifier: Apache-2.0
// Manifest, registry and configuration.
#include <spdlog/logger.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "c_api/handles.hpp"

namespace onebit::c_api {
namespace {

spdlog::level::level_enum level_of(int32_t log_level) {
  switch (log_level) {
    case 0:
      return spdlog::level::off;
    case ONEBIT_LOG_DEBUG:
      return spdlog::level::debug;
    case ONEBIT_LOG_INFO:
      return spdlog::level::info;
    case ONEBIT_LOG_WARN:
      return spdlog::level::warn;
    case ONEBIT_LOG_ERROR:
      return spdlog::level::err;
    default:
      refuse("there is no log level " + std::to_string(log_level) + "; expected ONEBIT_LOG_DEBUG to ONEBIT_LOG_ERROR, or 0");
  }
}

nlohmann::json described(const PluginInfo& plugin) {
  auto components = nlohmann::json::array();
  for (const ComponentInfo& component : plugin.components)
    components.push_back(
        {{"kind", name_of(component.kind)}, {"name", component.name}, {"device", device_name(component.device)}});
  return {{"name", plugin.name},
          {"version", plugin.version},
          {"file", plugin.file.string()},
          {"unavailable", plugin.unavailable},
          {"components", std::move(components)}};
}

nlohmann::json described(const Registry& registry) {
  auto plugins = nlohmann::json::array(), failures = nlohmann::json::array();
  for (const PluginInfo& plugin : registry.plugins()) plugins.push_back(described(plugin));
  for (const LoadFailure& failure : registry.failures())
    failures.push_back({{"file", failure.file.string()}, {"reason", failure.reason}});
  return {{"plugins", std::move(plugins)}, {"failures", std::move(failures)}};
}

std::vector<std::filesystem::path> folders_of(const std::vector<std::string>& names) { return {names.begin(), names.end()}; }

}  // namespace
}  // namespace onebit::c_api

using namespace onebit;
using namespace onebit::c_api;

extern "C" {

onebit_code onebit_manifest_load(const char* file, const char* const* overrides, size_t count, onebit_manifest** out,
                                 onebit_error* err) {
  return call(err, [&] {
    onebit_manifest*& made = result(out);
    made = new onebit_manifest{Manifest::load(text(file, "file"), texts(overrides, count, "overrides"))};
  });
}
onebit_code onebit_manifest_parse(const char* toml, const char* name, const char* folder, const char* const* overrides,
                                  size_t count, onebit_manifest** out, onebit_error* err) {
  return call(err, [&] {
    onebit_manifest*& made = result(out);
    made = new onebit_manifest{
        Manifest::parse(text(toml, "text"), text(name, "name"), text(folder, "folder"), texts(overrides, count, "overrides"))};
  });
}
void onebit_manifest_free(onebit_manifest* manifest) { delete manifest; }

onebit_code onebit_registry_create(int32_t log_level, onebit_registry** out, onebit_error* err) {
  return call(err, [&] {
    onebit_registry*& made = result(out);
    auto queue = std::make_shared<LogQueue>();
    auto logger = std::make_shared<spdlog::logger>("onebit", queue);
    logger->set_level(level_of(log_level));
    auto registry = std::make_shared<Registry>(std::move(logger));
    made = new onebit_registry{std::move(queue), std::move(registry)};
  });
}
onebit_code onebit_registry_load(onebit_registry* registry, const onebit_manifest* manifest, const char* const* folders,
                                 size_t count, onebit_error* err) {
  return call(err, [&] {
    Registry& into = *required(registry, "registry").registry;
    const auto search = folders_of(texts(folders, count, "folders"));
    into.load(manifest == nullptr ? Manifest::parse("", "no manifest", ".") : manifest->manifest, search);
  });
}
onebit_code onebit_registry_describe(const onebit_registry* registry, char** out, onebit_error* err) {
  return call(err, [&] {
    char*& text = result(out);  // before there is a text that would be lost
    text = given(described(*required(registry, "registry").registry).dump());
  });
}
onebit_code onebit_registry_take_log(onebit_registry* registry, int32_t* level, char** out, onebit_error* err) {
  return call(err, [&] {
    char*& taken = result(out);
    required(level, "level") = 0;
    const LogLine line = required(registry, "registry").log->take();
    if (line.level == 0) return;
    taken = given(line.text);
    *level = line.level;
  });
}
void onebit_registry_free(onebit_registry* registry) { delete registry; }

onebit_code onebit_configuration_create(const onebit_registry* registry, const onebit_manifest* manifest,
                                        onebit_configuration** out, onebit_error* err) {
  return call(err, [&] {
    onebit_configuration*& made = result(out);
    const auto& of = required(registry, "registry").registry;
    made = new onebit_configuration{of, Configuration(*of, required(manifest, "manifest").manifest)};
  });
}
onebit_code onebit_configuration_toml(const onebit_configuration* configuration, char** out, onebit_error* err) {
  return call(err, [&] {
    char*& toml = result(out);
    toml = given(required(configuration, "configuration").configuration.to_toml());
  });
}
void onebit_configuration_free(onebit_configuration* configuration) { delete configuration; }
}
