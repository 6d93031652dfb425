// SPDX-License-Identifier: Apache-2.0
// Names, and writing.
#include "plugin_tools/template_project.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

namespace onebit::host {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kName = "my_plugin", kClass = "MyPlugin";
constexpr size_t kLongest = 64;

// Targets that CMake makes by itself, and the one of the project's test.
constexpr std::string_view kTargets[] = {
    "all",  "clean",   "conformance",    "depend",  "edit_cache",    "help",
    "test", "install", "package_source", "package", "rebuild_cache", "list_install_components"};

[[noreturn]] void refuse(const std::string& name, const std::string& reason) {
  throw Error(Code::invalid_argument, fmt::format("the name '{}': {}", name, reason));
}

void replace_all(std::string& text, std::string_view from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
}

std::string filled(std::string_view text, const std::string& name) {
  std::string result(text);
  replace_all(result, kName, name);
  replace_all(result, kClass, class_name_of(name));
  return result;
}

void write(const fs::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text << std::flush;
  if (!out)
    throw Error(Code::unavailable, file.string() + " can't be written: " + std::generic_category().message(errno), errno);
}

// Makes the folder and those above it; what is there is left alone.
void make_new(const fs::path& folder) {
  std::error_code error, absent;
  if (fs::symlink_status(folder, absent).type() != fs::file_type::not_found)
    throw Error(Code::invalid_argument,
                folder.string() + " is there already, and nothing is overwritten; choose another name or another --into");
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), error);
  if (error || !fs::create_directory(folder, error))
    throw Error(Code::unavailable, "the folder " + folder.string() + " can't be made: " + error.message());
}

}  // namespace

void check_project_name(const Registry& built_in, std::string_view kind, const std::string& name) {
  const bool sound = !name.empty() && name[0] >= 'a' && name[0] <= 'z' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (!sound) refuse(name, "expected lower case letters, digits and '_', and a letter first");
  if (name.size() > kLongest) refuse(name, fmt::format("expected at most {} letters", kLongest));
  if (std::find(std::begin(kTargets), std::end(kTargets), name) != std::end(kTargets))
    refuse(name, "the project has another target of this name");
  for (const PluginInfo& plugin : built_in.plugins())
    for (const ComponentInfo& component : plugin.components)
      if (name_of(component.kind) == kind && component.name == name)
        refuse(name, fmt::format("onebit has {} of this name: {}",
                                 kind == "optimizer" ? "an optimizer" : "a " + std::string(kind), plugin.file.string()));
}

std::string class_name_of(std::string_view name) {
  std::string result;
  bool begins = true;
  for (const char c : name) {
    if (c != '_') result += begins ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    begins = c == '_';
  }
  return result;
}

std::vector<std::string> write_project(std::string_view kind, const std::string& name, const fs::path& folder) {
  make_new(folder);
  try {
    std::vector<std::string> written;
    for (const TemplateFile& file : template_files()) {
      if (file.kind != kind) continue;
      written.push_back(filled(file.name, name));
      write(folder / written.back(), filled(file.text, name));
    }
    return written;
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    throw;
  }
}

}  // namespace onebit::host
