// SPDX-License-Identifier: Apache-2.0
// From a trusted file to a plugin: ELF check, load, entry, validation, probe. What was mapped stays mapped.
#pragma once

#include <filesystem>
#include <memory>

#include "loading/library_file.hpp"
#include "onebit/registry.hpp"

namespace onebit {

struct Library {
  PluginInfo info;
  LibraryFile::Identity identity;  // of the bytes that were loaded
  // Shared by all who use the plugin in this process; its shutdown is called when the last of them is gone.
  std::shared_ptr<const onebit_plugin> table;
};

// Throws Error with the reason. observer: as of Registry::load; the first stage has been told.
Library open_library(const LibraryFile& file, const onebit_host* host, const LoadObserver& observer = {});
// How errors name the plugin of a file, or of what should be one: "plugin 'foo' (/opt/p/libfoo.so)".
std::string plugin_label(const std::filesystem::path& file);

}  // namespace onebit
