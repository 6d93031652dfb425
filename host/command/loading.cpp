// SPDX-License-Identifier: Apache-2.0
// Loading a configuration for the command.
#include "command/loading.hpp"

#include <cstdlib>
#include <string_view>

namespace onebit::host {
namespace {

const Registry& filled(Registry& registry, const Manifest& manifest) {
  registry.load(manifest, environment_plugin_path());
  return registry;
}

// Absolute, for what the current folder holds is nobody's choice.
std::filesystem::path checked(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!path.is_absolute())
    throw Error(Code::invalid_argument, "$ONEBIT_PLUGIN_PATH names '" + path.string() + "'; expected absolute paths");
  if (std::filesystem::exists(path, ignored)) return path;
  throw Error(Code::unavailable, "$ONEBIT_PLUGIN_PATH names " + path.string() + ", which is not there");
}

}  // namespace

void Source::add_to(CLI::App& command) {
  command.add_option("CONFIG", config, "The manifest: a TOML file that chooses the plugins and sets all options")->required();
  command
      .add_option("--set", overrides,
                  "Override one option of the manifest, for example --set optimizer.lr=1e-3; may be repeated")
      ->type_name("TABLE.KEY=VALUE")
      ->allow_extra_args(false);
}

Loaded::Loaded(const Source& source, std::shared_ptr<spdlog::logger> logger,
               const std::vector<const onebit_schema*>& train_schema,
               const std::vector<const onebit_schema*>& checkpoint_schema)
    : manifest(Manifest::load(source.config, source.overrides)),
      registry(std::move(logger)),
      configuration(filled(registry, manifest), manifest, train_schema, checkpoint_schema) {}

std::vector<std::filesystem::path> environment_plugin_path() {
  std::vector<std::filesystem::path> folders;
  const char* given = secure_getenv("ONEBIT_PLUGIN_PATH");
  std::string_view rest = given == nullptr ? "" : given;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) folders.push_back(checked(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return folders;
}

}  // namespace onebit::host
