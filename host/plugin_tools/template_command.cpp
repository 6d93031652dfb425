// SPDX-License-Identifier: Apache-2.0
// `onebit plugins new`: a project that builds, passes its test and trains, and the commands for that.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "command/command.hpp"
#include "command/output.hpp"
#include "plugin_tools/plugins_command.hpp"
#include "plugin_tools/template_project.hpp"

namespace onebit::host {
namespace {

namespace fs = std::filesystem;

fs::path this_command() { return fs::canonical("/proc/self/exe"); }

// Whether the shell finds this very command, in its own folder, under its name. CMake then finds the package, too: it looks
// beside the folders of PATH.
bool is_in_path(const fs::path& command) {
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    std::error_code ignored;
    const fs::path found = fs::path(rest.substr(0, end)) / "onebit";
    if (end > 0 && fs::is_regular_file(found, ignored))
      return fs::canonical(found.parent_path(), ignored) / "onebit" == command;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

std::string quoted(const std::string& text) {
  const bool plain =
      text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+./,:@=") == std::string::npos;
  if (plain) return text;
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? "'\\''" : std::string(1, c);
  return result + "'";
}

// What CMake must be told to find the package that belongs to this command; "" when it will by itself.
std::string package_argument(const fs::path& command) {
  const fs::path prefix = command.parent_path().parent_path();
  for (const char* file : {"onebitConfig.cmake", "onebit-config.cmake"})
    if (fs::exists(prefix / "cmake" / file)) return " -Donebit_DIR=" + quoted((prefix / "cmake").string());
  if (prefix == "/usr" || prefix == "/usr/local" || is_in_path(command)) return "";
  return " -DCMAKE_PREFIX_PATH=" + quoted(prefix.string());
}

std::string directions(const fs::path& folder, const std::string& name) {
  const fs::path command = this_command();
  const std::string onebit = is_in_path(command) ? "onebit" : quoted(command.string());
  return fmt::format(
      "  cd {0}\n"
      "  cmake -S . -B build{1}\n"
      "  cmake --build build\n"
      "  ctest --test-dir build --output-on-failure\n"
      "  {2} plugins verify build/{3}.so\n"
      "  {2} train demo.toml\n",
      quoted(folder.string()), package_argument(command), onebit, name);
}

struct NewOptions {
  std::string kind, name, into = ".";
};

void write_and_tell(const NewOptions& options, const std::shared_ptr<spdlog::logger>& logger) {
  Registry built_in(logger);
  if (const fs::path folder = Registry::default_folder(); fs::is_directory(folder)) built_in.load_folder(folder);
  check_project_name(built_in, options.kind, options.name);
  const fs::path folder = (fs::path(options.into) / options.name).lexically_normal();
  const std::vector<std::string> files = write_project(options.kind, options.name, folder);
  print(fmt::format("wrote to {}: {}\n\nnext:\n{}", folder.string(), fmt::join(files, ", "), directions(folder, options.name)));
}

}  // namespace

void add_new(CLI::App& plugins, Run& run) {
  const auto options = std::make_shared<NewOptions>();
  CLI::App* command =
      plugins.add_subcommand("new", "Create a small project with a working plugin, as a starting point for your own");
  command->add_option("--kind", options->kind, "Kind of plugin")
      ->required()
      ->check(CLI::IsMember({"optimizer", "compressor", "communicator"}));
  command->add_option("NAME", options->name, "Name of the plugin: lower case letters, digits and '_'")->required();
  command->add_option("--into", options->into, "Folder in which the folder of the project is created")
      ->capture_default_str()
      ->type_name("FOLDER");
  command->callback([&run, options] { run.chosen = [&run, options] { write_and_tell(*options, run.logger); }; });
}

}  // namespace onebit::host
