// SPDX-License-Identifier: Apache-2.0
// A new plugin project, made from the templates of sdk/templates, which are built into the command.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "onebit/registry.hpp"

namespace onebit::host {

// In the templates the component is called my_plugin, and its class MyPlugin.
struct TemplateFile {
  std::string_view kind;  // the folder in sdk/templates
  std::string_view name;
  std::string_view text;
};
std::vector<TemplateFile> template_files();

// Throws Error(invalid_argument) for a name that no component of this kind may have, or that no project may.
void check_project_name(const Registry& built_in, std::string_view kind, const std::string& name);
// "top_k" -> "TopK".
std::string class_name_of(std::string_view name);
// Writes the project into `folder`, which it makes, and answers the files' names. Throws Error where something is there
// already, and leaves nothing behind when it fails.
std::vector<std::string> write_project(std::string_view kind, const std::string& name, const std::filesystem::path& folder);

}  // namespace onebit::host
