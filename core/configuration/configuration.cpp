// SPDX-License-Identifier: Apache-2.0
// The configuration: each table of the manifest against the schema of whoever reads it.
#include "onebit/configuration.hpp"

#include <spdlog/logger.h>
#include <xxhash.h>

#include "configuration/optimizer_keys.hpp"
#include "loading/pins.hpp"
#include "loading/plugin_paths.hpp"
#include "manifest/nearest.hpp"
#include "manifest/refuse.hpp"
#include "manifest/toml_reader.hpp"

namespace onebit {
namespace {

const ComponentInfo& find_component(const Registry& registry, const Manifest& manifest, Kind kind, const std::string& plugin,
                                    int64_t device) {
  const std::string table(name_of(kind));
  try {
    return registry.find(kind, plugin, device);
  } catch (const Error& e) {
    throw Error(e.code(), manifest.where(table, "plugin").text() + ": " + e.what(), e.native());
  }
}

Selection select(const Registry& registry, const Manifest& manifest, Kind kind, int64_t device) {
  const std::string table(name_of(kind));
  const std::string plugin = manifest.plugin(table);
  if (!manifest.has(table))
    refuse(manifest.where(table), "the table [" + table + "] is missing; expected one with plugin = \"name\"");
  const std::string example = kind == Kind::optimizer ? "adam" : kind == Kind::compressor ? "onebit" : "threads";
  if (plugin.empty())
    refuse(manifest.where(table),
           "[" + table + "] lacks the key 'plugin': expected the name of its plugin, such as plugin = \"" + example + "\"");
  const ComponentInfo& component = find_component(registry, manifest, kind, plugin, device);
  return {&component, &registry.plugin_of(component), ResolvedTable(manifest, table, component.options, true)};
}

// A manifest may serve the command and an embedder alike.
ResolvedTable command_table(const Registry& registry, const Manifest& manifest, const char* table,
                            const std::vector<const onebit_schema*>& schema) {
  if (!schema.empty()) return ResolvedTable(manifest, table, schema);
  if (manifest.has(table))
    registry.logger()->debug("{}: the table [{}] is the command onebit's; this program does not read it",
                             manifest.where(table).text(), table);
  return {};
}

// What is smaller would, beside the largest gradients, make a factor that is zero in fp32.
void check_clip_norm(const ResolvedTable& session, const Manifest& manifest) {
  const double norm = session.options().real("clip_norm");
  if (norm > 0 && norm < 1e-15)
    refuse(manifest.where("session", "clip_norm"), "session.clip_norm: expected 0 (no clipping), or at least 1e-15, found " +
                                                       write_value(norm) + ": gradients are scaled in fp32");
}

int64_t device_of(const ResolvedTable& session) {
  return session.options().text("device") == device_name(ONEBIT_DEVICE_CUDA) ? ONEBIT_DEVICE_CUDA : ONEBIT_DEVICE_CPU;
}

std::string canonical(const char* table, const Selection& selection) {
  std::string text = std::string("[") + table + "]\n";
  if (selection.component == nullptr) return text;
  text += "component = " + write_value(selection.component->name) + "\n";
  text += "plugin = " + write_value(selection.plugin->name) + "\n";
  text += "version = " + write_value(selection.plugin->version) + "\n";
  return text + selection.options.to_toml();
}

std::string printed(const char* table, const Selection& selection, bool with_help) {
  if (selection.component == nullptr) return "";
  return std::string("\n[") + table + "]\nplugin = " + write_value(selection.component->name) + "\n" +
         selection.options.to_toml(with_help);
}

// plugins.path with its folder in front: a resolved manifest means the same wherever it is kept.
std::string printed_plugins(const ResolvedTable& plugins, const std::filesystem::path& folder) {
  std::vector<std::string> paths;
  for (const std::filesystem::path& path : plugin_paths(plugins, folder)) paths.push_back(path.string());
  return "[plugins]\npath = " + write_value(paths) + "\n" + plugins.to_toml_without({"path"});
}

}  // namespace

Configuration::Configuration(const Registry& registry, const Manifest& manifest,
                             const std::vector<const onebit_schema*>& train_schema,
                             const std::vector<const onebit_schema*>& checkpoint_schema)
    : folder(manifest.folder()),
      plugins(manifest, "plugins", plugins_schema()),
      pins(Pins(manifest).to_toml()),
      session(manifest, "session", session_schema()),
      exchange(manifest, "exchange", exchange_schema()),
      train(command_table(registry, manifest, "train", train_schema)),
      checkpoint(command_table(registry, manifest, "checkpoint", checkpoint_schema)) {
  check_clip_norm(session, manifest);
  const int64_t device = device_of(session);
  optimizer = select(registry, manifest, Kind::optimizer, device);
  if (manifest.has("compressor")) compressor = select(registry, manifest, Kind::compressor, device);
  communicator = select(registry, manifest, Kind::communicator, device);
  exempt = read_exempt(manifest);
  groups = read_groups(manifest, optimizer);
}

std::string Configuration::compared() const {
  return canonical("optimizer", optimizer) + written(exempt, groups, false) + canonical("compressor", compressor) +
         "[exchange]\n" + exchange.to_toml() + "[session]\n" + session.to_toml_without({"device", "threads", "trace"});
}

uint64_t Configuration::hash() const {
  const std::string text = compared();
  return XXH64(text.data(), text.size(), 0);
}

std::string Configuration::to_toml(bool with_help) const {
  std::string text = printed_plugins(plugins, folder) + pins + "\n[session]\n" + session.to_toml(with_help);
  text += printed("optimizer", optimizer, with_help) + written(exempt, groups, with_help);
  text += printed("compressor", compressor, with_help) + printed("communicator", communicator, with_help);
  text += "\n[exchange]\n" + exchange.to_toml(with_help);
  if (const std::string own = train.to_toml(with_help); !own.empty()) text += "\n[train]\n" + own;
  if (const std::string own = checkpoint.to_toml(with_help); !own.empty()) text += "\n[checkpoint]\n" + own;
  return text;
}

}  // namespace onebit
