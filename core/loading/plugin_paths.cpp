// SPDX-License-Identifier: Apache-2.0
// The table [plugins]. An array's elements are the options path.0, path.1, and so on.
#include "loading/plugin_paths.hpp"

#include "loading/trust.hpp"
#include "onebit/registry.hpp"

namespace onebit {
namespace {

onebit_schema texts_option(const char* key, const char* help) {
  onebit_schema schema = text_option(key, "[]", "", help);
  schema.array_max = 256;
  return schema;
}

}  // namespace

std::vector<const onebit_schema*> plugins_schema() {
  static const onebit_schema schemas[] = {
      texts_option(
          "path",
          "plugin files, or folders of plugin files, to load in addition to the built-in plugins; relative to this file"),
      texts_option("trusted_owners",
                   "users, by name or number, whose plugin files are loaded, besides those of root and of who runs this"),
      boolean_option("require_pins", "false",
                     "load a plugin only if a table [[plugins.pin]] gives its file and sha256; the built-in plugins need "
                     "none"),
  };
  return {&schemas[0], &schemas[1], &schemas[2]};
}

std::vector<std::filesystem::path> plugin_paths(const ResolvedTable& plugins, const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  const onebit_config& config = *plugins.config();
  for (size_t i = 0; i < config.count; ++i)
    if (view(config.options[i]->key).substr(0, 5) == "path.")
      paths.push_back(written_out(folder / view(config.options[i]->string)));
  return paths;
}

}  // namespace onebit
