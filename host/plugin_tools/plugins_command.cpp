// SPDX-License-Identifier: Apache-2.0
// `onebit plugins`: what there is, and what it accepts; its other subcommands have files of their own.
#include "plugin_tools/plugins_command.hpp"

#include "command/loading.hpp"
#include "command/output.hpp"

namespace onebit::host {
namespace {

struct Options {
  std::string file;
  std::vector<std::string> owners;
  bool as_json = false;
};

void list(const std::shared_ptr<spdlog::logger>& logger, const Options& options) {
  Registry registry(logger);
  trust(registry, options.owners);
  registry.load(Manifest::parse("", "onebit", std::filesystem::current_path()), environment_plugin_path());
  if (options.as_json) {
    print_json(host::json_of(registry));
    return;
  }
  std::string text;
  for (const PluginInfo& plugin : registry.plugins()) text += summary_of(plugin);
  for (const LoadFailure& failure : registry.failures()) text += "failed: " + failure.reason + "\n";
  if (registry.plugins().empty()) text += "no plugins; looked in " + Registry::default_folder().string() + "\n";
  print(text);
}

void inspect(const std::shared_ptr<spdlog::logger>& logger, const Options& options) {
  Registry registry(logger);
  trust(registry, options.owners);
  const PluginInfo& plugin = registry.load(named_file(options.file));
  if (options.as_json)
    print_json(host::json_of(plugin));
  else
    print(description_of(plugin));
}

}  // namespace

std::filesystem::path named_file(const std::string& typed) {
  if (typed.empty()) throw Error(Code::invalid_argument, "FILE is empty; expected the path of a shared library");
  return std::filesystem::absolute(typed);
}

void add_owners(CLI::App& command, std::vector<std::string>& owners) {
  command
      .add_option("--trusted-owner", owners,
                  "Load files of this user, a name or number, besides root's and your own; may be repeated")
      ->type_name("USER")
      ->allow_extra_args(false);
}

void trust(Registry& registry, const std::vector<std::string>& owners) {
  for (const std::string& owner : owners) registry.trust_owner(owner);
}

void append_owners(std::vector<std::string>& arguments, const std::vector<std::string>& owners) {
  for (const std::string& owner : owners) arguments.insert(arguments.end(), {"--trusted-owner", owner});
}

void add_timeout(CLI::App& command, double& seconds, const std::string& help) {
  const auto fault_of = [](const std::string& text) -> std::string {
    double found = 0;
    if (CLI::detail::lexical_cast(text, found) && found >= 0.001 && found <= 1e6) return "";  // NaN is no time either
    return "expected seconds, 0.001 to 1000000, found " + text;
  };
  command.add_option("--timeout", seconds, help)->capture_default_str()->check(fault_of)->type_name("S");
}

void add_plugins(CLI::App& app, Run& run) {
  CLI::App* plugins = app.add_subcommand("plugins", "List, inspect, test and create plugins");
  plugins->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  CLI::App* list_command = plugins->add_subcommand(
      "list", "List all optimizers, compressors and communicators, and the plugins that failed to load");
  list_command->add_flag("--json", options->as_json, "Print JSON instead of text");
  add_owners(*list_command, options->owners);
  list_command->callback([&run, options] { run.chosen = [&run, options] { list(run.logger, *options); }; });

  CLI::App* inspect_command =
      plugins->add_subcommand("inspect", "Show what a plugin contains, and each option with type, default and range");
  inspect_command->add_option("FILE", options->file, "The plugin, a shared library (.so)")->required();
  inspect_command->add_flag("--json", options->as_json, "Print JSON instead of text");
  add_owners(*inspect_command, options->owners);
  inspect_command->callback([&run, options] { run.chosen = [&run, options] { inspect(run.logger, *options); }; });

  add_probe(*plugins, run);
  add_verify(*plugins, run);
  add_new(*plugins, run);
  add_examine(*plugins, run);
}

}  // namespace onebit::host
