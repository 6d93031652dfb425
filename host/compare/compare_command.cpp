// SPDX-License-Identifier: Apache-2.0
// `onebit compare A/summary.json B/summary.json ...`: the gain of one run over another, as a table.
#include "compare/compare_command.hpp"

#include <memory>
#include <string>
#include <vector>

#include "command/output.hpp"
#include "compare/comparison.hpp"

namespace onebit::host {

void add_compare(CLI::App& app, Run& run) {
  struct Arguments {
    std::vector<std::string> files;
    bool markdown = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("compare", "Compare training runs in a table: accuracy, loss, time, and bytes sent");
  command->add_option("SUMMARY", arguments->files, "The summary.json of each run; the other runs are compared with the first")
      ->required();
  command->add_flag("--markdown", arguments->markdown, "Print the table as Markdown");
  command->callback([&run, arguments] {
    run.chosen = [arguments] {
      std::vector<RunFigures> runs;
      for (const std::string& file : arguments->files) runs.push_back(read_summary(file));
      const Table table = comparison_of(runs);
      print(arguments->markdown ? markdown_text(table) : aligned_text(table));
    };
  });
}

}  // namespace onebit::host
