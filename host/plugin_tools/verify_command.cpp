// SPDX-License-Identifier: Apache-2.0
// `onebit plugins verify FILE`: what a plugin must be and do, checked in a process of its own.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "command/command.hpp"
#include "command/output.hpp"
#include "plugin_tools/plugins_child.hpp"
#include "plugin_tools/plugins_command.hpp"

namespace onebit::host {
namespace {

using Json = nlohmann::ordered_json;

struct Verdict {
  Json checks = Json::array();
  ChildEnd end;

  int64_t count(const char* outcome) const {
    return std::count_if(checks.begin(), checks.end(), [outcome](const Json& check) { return check["outcome"] == outcome; });
  }
  // It was not loaded, so that its end has nothing to show.
  bool refused() const { return checks.size() == 1 && !ok(); }
  bool ok() const { return count("failed") == 0; }
};

void print_check(const Json& check) {
  const std::string text = check["text"];
  print(fmt::format("{:<8} {} {}{}\n", check["outcome"].get<std::string>(), check["subject"].get<std::string>(),
                    check["name"].get<std::string>(), text.empty() ? "" : ": " + text));
}

// How the process ended is the last check.
Json ending_of(const ChildEnd& end) {
  const bool good = end.trouble.empty(), late = end.stage == "its shutdown" || end.stage == "its static destructors";
  const std::string rest = late ? "" : "; the checks after that were not made";
  return {{"subject", "plugin"},
          {"name", "end"},
          {"outcome", good ? "passed" : "failed"},
          {"text", good ? "its shutdown and static destructors returned" : "it " + end.trouble + rest},
          {"seconds", 0.0}};
}

Verdict verify(const std::vector<std::string>& arguments, double seconds, bool quiet) {
  Verdict verdict;
  const auto add = [&](const Json& check) {
    verdict.checks.push_back(check);
    if (!quiet) print_check(check);
  };
  verdict.end = run_child(arguments, seconds, [&](const Json& message) {
    if (message.contains("check")) add(message["check"]);
  });
  if (!verdict.refused() || !verdict.end.trouble.empty()) add(ending_of(verdict.end));
  return verdict;
}

Json json_of(const Verdict& verdict, const std::string& file) {
  return {{"file", file},
          {"ok", verdict.ok()},
          {"passed", verdict.count("passed")},
          {"warnings", verdict.count("warning")},
          {"failed", verdict.count("failed")},
          {"skipped", verdict.count("skipped")},
          {"checks", verdict.checks},
          {"output", verdict.end.said}};
}

std::string summary_of(const Verdict& verdict, const std::string& file) {
  std::string text;
  if (!verdict.ok() && !verdict.end.said.empty()) text = "it wrote:\n" + quoted_lines(verdict.end.said);
  return text + fmt::format("{}: {}: {} passed, {} failed, {} skipped, {} warnings\n", file, verdict.ok() ? "good" : "not good",
                            verdict.count("passed"), verdict.count("failed"), verdict.count("skipped"),
                            verdict.count("warning"));
}

struct VerifyOptions {
  std::string file;
  std::vector<std::string> overrides, owners;
  bool as_json = false;
  double seconds = 60;
};

void verify_and_tell(const VerifyOptions& options, Run& run) {
  Manifest::parse("", "verify", "", options.overrides);  // throws for what is no kind.key=value
  const std::string file = named_file(options.file).string();
  std::vector<std::string> arguments = {"verify", file};
  for (const std::string& text : options.overrides) arguments.insert(arguments.end(), {"--set", text});
  append_owners(arguments, options.owners);
  const Verdict verdict = verify(arguments, options.seconds, options.as_json);
  if (options.as_json)
    print_json(json_of(verdict, file));
  else
    print(summary_of(verdict, file));
  run.exit_code = verdict.ok() ? 0 : 1;
}

}  // namespace

void add_verify(CLI::App& plugins, Run& run) {
  const auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = plugins.add_subcommand(
      "verify", "Test a plugin in a separate process: its exports, ABI and options, and all conformance tests");
  command->add_option("FILE", options->file, "The plugin, a shared library (.so)")->required();
  command
      ->add_option("--set", options->overrides,
                   "Set an option of the plugin, for example --set compressor.bits=4; may be repeated")
      ->type_name("KIND.KEY=VALUE")
      ->allow_extra_args(false);
  command->add_flag("--json", options->as_json, "Print JSON instead of text");
  add_owners(*command, options->owners);
  add_timeout(*command, options->seconds, "Time limit in seconds for each step of loading and each test");
  command->callback([&run, options] { run.chosen = [&run, options] { verify_and_tell(*options, run); }; });
}

}  // namespace onebit::host
