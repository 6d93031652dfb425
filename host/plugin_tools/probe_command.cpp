// SPDX-License-Identifier: Apache-2.0
// `onebit plugins probe FILE`: whether a library loads, and what it did if not, found out in a process of its own.
#include <fmt/format.h>

#include <filesystem>

#include "command/command.hpp"
#include "command/output.hpp"
#include "plugin_tools/plugins_child.hpp"
#include "plugin_tools/plugins_command.hpp"

namespace onebit::host {
namespace {

using Json = nlohmann::ordered_json;

struct Findings {
  Json plugin, components = Json::array();
  std::string refused;
  ChildEnd end;

  bool loads() const { return !plugin.is_null(); }
  // "" when all is well.
  std::string reason() const {
    if (!end.trouble.empty()) return end.trouble;
    if (!refused.empty()) return refused;
    for (const Json& component : components)
      if (component["tried"] && !component["created"]) return "not every component can be made";
    return "";
  }
};

Findings probe(const std::string& file, const std::vector<std::string>& owners, double seconds) {
  Findings found;
  std::vector<std::string> arguments = {"probe", file};
  append_owners(arguments, owners);
  found.end = run_child(arguments, seconds, [&found](const Json& message) {
    if (message.contains("plugin")) found.plugin = message["plugin"];
    if (message.contains("refused")) found.refused = message["refused"];
    if (message.contains("component")) found.components.push_back(message["component"]);
  });
  return found;
}

Json json_of(const Findings& found, const std::string& file) {
  return {{"file", file},
          {"ok", found.reason().empty()},
          {"loads", found.loads()},
          {"reason", found.reason()},
          {"stage", found.end.trouble.empty() ? Json() : Json(found.end.stage)},  // where it ended before its end
          {"plugin", found.plugin},
          {"components", found.components},
          {"output", found.end.said}};
}

std::string text_of(const Json& component) {
  const std::string reason = component["reason"];
  return fmt::format("  {} '{}' for {}: {}\n", component["kind"].get<std::string>(), component["name"].get<std::string>(),
                     component["device"].get<std::string>(),
                     component["created"] ? "made and let go" : (component["tried"] ? "failed: " : "not made: ") + reason);
}

std::string text_of(const Findings& found, const std::string& file) {
  std::string text;
  if (!found.loads() && found.end.trouble.empty())
    text = found.refused + "\n";  // begins with the file
  else
    text = file + ": " + (found.reason().empty() ? "loads" : found.reason()) + "\n";
  if (found.loads()) {
    const Json& plugin = found.plugin;
    text += fmt::format("  {} {}, ABI {}, {}\n", plugin["name"].get<std::string>(), plugin["version"].get<std::string>(),
                        plugin["abi"].get<std::string>(), plugin["toolchain"].get<std::string>());
    if (!plugin["available"]) text += "  not available here: " + plugin["unavailable"].get<std::string>() + "\n";
    for (const Json& component : found.components) text += text_of(component);
  }
  if (!found.end.said.empty()) text += "  it wrote:\n" + quoted_lines(found.end.said);
  return text;
}

}  // namespace

void add_probe(CLI::App& plugins, Run& run) {
  struct Options {
    std::string file;
    std::vector<std::string> owners;
    bool as_json = false;
    double seconds = 10;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      plugins.add_subcommand("probe", "Check whether a plugin loads, in a separate process: a crash or a hang is reported");
  command->add_option("FILE", options->file, "The plugin, a shared library (.so)")->required();
  command->add_flag("--json", options->as_json, "Print JSON instead of text");
  add_owners(*command, options->owners);
  add_timeout(*command, options->seconds,
              "Time limit in seconds for each step of loading, such as the call of the entry function");
  command->callback([&run, options] {
    run.chosen = [&run, options] {
      const std::string file = named_file(options->file).string();
      const Findings found = probe(file, options->owners, options->seconds);
      if (options->as_json)
        print_json(json_of(found, file));
      else
        print(text_of(found, file));
      run.exit_code = found.reason().empty() ? 0 : 1;
    };
  });
}

}  // namespace onebit::host
