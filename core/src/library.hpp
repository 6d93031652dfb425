// From a file to a plugin: trust, ELF check, load, entry, validation, probe. What was mapped stays mapped.
#pragma once

#include <filesystem>
#include <memory>

#include "onebit/registry.hpp"

namespace onebit {

struct Library {
  PluginInfo info;
  // Shared by all who use the plugin in this process; its shutdown is called when the last of them is gone.
  std::shared_ptr<const onebit_plugin> table;
};

// file: absolute. Throws Error whose text names the plugin, the file and the reason.
Library open_library(const std::filesystem::path& file, const onebit_host* host, const LoadObserver& observer = {});
// How errors name the plugin of a file: "plugin 'foo' (/opt/p/libfoo.so)".
std::string plugin_label(const std::filesystem::path& file);

}  // namespace onebit
