// SPDX-License-Identifier: Apache-2.0
// From a manifest on the command line to a configuration that can run: what check, train and replay have in common.
#pragma once

#include <spdlog/logger.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "onebit/configuration.hpp"
#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"

namespace onebit::host {

// What the user typed: CONFIG [--set table.key=value]...
struct Source {
  std::string config;
  std::vector<std::string> overrides;

  void add_to(CLI::App& command);
};

// The manifest, every plugin it can reach, and the configuration they make. In place: the configuration points into the
// registry. Throws Error for whatever is wrong with any of them.
struct Loaded {
  // train_schema, checkpoint_schema: of the tables [train] and [checkpoint].
  Loaded(const Source& source, std::shared_ptr<spdlog::logger> logger, const std::vector<const onebit_schema*>& train_schema,
         const std::vector<const onebit_schema*>& checkpoint_schema);

  Manifest manifest;
  Registry registry;
  Configuration configuration;
};

// The files and folders in $ONEBIT_PLUGIN_PATH, separated by ':'; none in a setuid process. Throws Error for one that is
// relative or not there.
std::vector<std::filesystem::path> environment_plugin_path();

}  // namespace onebit::host
