// SPDX-License-Identifier: Apache-2.0
// plugins.path of a manifest: the files and folders in which plugins are looked for.
#pragma once

#include <filesystem>
#include <vector>

#include "onebit/manifest.hpp"

namespace onebit {

// plugins: the resolved table; folder: what its paths are relative to. Absolute, in the order given.
std::vector<std::filesystem::path> plugin_paths(const ResolvedTable& plugins, const std::filesystem::path& folder);

}  // namespace onebit
