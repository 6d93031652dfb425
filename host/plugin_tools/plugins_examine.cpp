// SPDX-License-Identifier: Apache-2.0
// The hidden subcommand `onebit plugins examine`: what runs in the child process of probe and verify.
#include "plugin_tools/plugins_command.hpp"
#include "plugin_tools/plugins_report.hpp"
#include "plugin_tools/probe_child.hpp"
#include "plugin_tools/verify_child.hpp"

namespace onebit::host {

void add_examine(CLI::App& plugins, Run& run) {
  struct Options {
    std::string task, file;
    std::vector<std::string> overrides, owners;
    int descriptor = -1;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = plugins.add_subcommand("examine", "What probe and verify run in a process of its own")->group("");
  command->add_option("TASK", options->task)->required()->check(CLI::IsMember({"probe", "verify"}));
  command->add_option("FILE", options->file)->required();
  command->add_option("--set", options->overrides)->allow_extra_args(false);
  add_owners(*command, options->owners);
  command->add_option("--report-to", options->descriptor)->required();
  command->callback([&run, options] {
    run.chosen = [&run, options] {
      Report report(options->descriptor);
      if (options->task == "probe")
        probe_here(report, options->file, options->owners, run.logger);
      else
        verify_here(report, options->file, options->owners, options->overrides, run.logger);
      report.end();
    };
  });
}

}  // namespace onebit::host
