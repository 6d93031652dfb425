// SPDX-License-Identifier: Apache-2.0
// The subcommands of `onebit plugins`, and how plugins are shown, to people and to programs.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "command/command.hpp"
#include "onebit/registry.hpp"

namespace onebit::host {

nlohmann::ordered_json json_of(const PluginInfo& plugin);
nlohmann::ordered_json json_of(const Registry& registry);
// One line a component.
std::string summary_of(const PluginInfo& plugin);
// The whole: components and options.
std::string description_of(const PluginInfo& plugin);

// To stdout; bytes that are no UTF-8 are replaced.
void print_json(const nlohmann::ordered_json& json);

// FILE as it was typed, absolute: links in it are the kernel's to follow.
std::filesystem::path named_file(const std::string& typed);

void add_plugins(CLI::App& app, Run& run);
void add_probe(CLI::App& plugins, Run& run);
void add_verify(CLI::App& plugins, Run& run);
void add_new(CLI::App& plugins, Run& run);
void add_examine(CLI::App& plugins, Run& run);  // hidden: what probe and verify run in a child process
// --trusted-owner, which may be repeated; and what it does to a registry.
void add_owners(CLI::App& command, std::vector<std::string>& owners);
void trust(Registry& registry, const std::vector<std::string>& owners);
// "--trusted-owner OWNER" for each, for a child process.
void append_owners(std::vector<std::string>& arguments, const std::vector<std::string>& owners);
void add_timeout(CLI::App& command, double& seconds, const std::string& help);

}  // namespace onebit::host
