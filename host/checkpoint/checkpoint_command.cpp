// SPDX-License-Identifier: Apache-2.0
// `onebit checkpoint show|verify|prune FOLDER`: what lies on the disk, whether it is whole, and less of it.
#include "checkpoint/checkpoint_command.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_text.hpp"
#include "command/output.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

struct CheckpointArguments {
  std::string folder;
  bool as_json = false;
  int keep = 0;

  void add_to(CLI::App& command) {
    command.add_option("FOLDER", folder, "A folder of checkpoints, as checkpoint.folder names it, or one checkpoint")
        ->required();
    command.add_flag("--json", as_json, "Print JSON");
  }
};

using Arguments = std::shared_ptr<CheckpointArguments>;

void show(const CheckpointArguments& arguments) {
  print(arguments.as_json ? shown_json(arguments.folder) : shown_text(arguments.folder));
}

int verify(const CheckpointArguments& arguments) {
  const std::vector<Verdict> verdicts = verdicts_of(arguments.folder);
  print(arguments.as_json ? verdicts_json(verdicts) : verdicts_text(verdicts));
  const bool whole = std::all_of(verdicts.begin(), verdicts.end(), [](const Verdict& v) { return v.fault.empty(); });
  return whole && !verdicts.empty() ? 0 : 1;
}

void prune(const CheckpointArguments& arguments) {
  if (list_checkpoints(arguments.folder).entries.empty())
    throw Error(Code::invalid_argument, arguments.folder + ": expected a folder of checkpoints, found none there");
  const PrunedCheckpoints pruned = prune_checkpoints(arguments.folder, arguments.keep);
  print(arguments.as_json ? pruned_json(pruned) : pruned_text(pruned));
}

// f: of the arguments; answers the exit code.
template <class F>
CLI::App* add_one(CLI::App& parent, Run& run, const char* name, const char* help, const Arguments& arguments, F f) {
  CLI::App* command = parent.add_subcommand(name, help);
  arguments->add_to(*command);
  command->callback([&run, arguments, f] { run.chosen = [&run, arguments, f] { run.exit_code = f(*arguments); }; });
  return command;
}

}  // namespace

void add_checkpoint(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("checkpoint", "Show, verify or remove checkpoints of a training run");
  command->require_subcommand(1);
  command->fallthrough();
  add_one(*command, run, "show", "List the checkpoints in a folder, or what one of them holds",
          std::make_shared<CheckpointArguments>(), [](const CheckpointArguments& arguments) {
            show(arguments);
            return 0;
          });
  add_one(*command, run, "verify", "Read all of each checkpoint, and tell whether it is as it was saved",
          std::make_shared<CheckpointArguments>(), verify);
  const auto arguments = std::make_shared<CheckpointArguments>();
  add_one(*command, run, "prune", "Remove all but the newest checkpoints of a folder, and what broken-off removals left",
          arguments,
          [](const CheckpointArguments& given) {
            prune(given);
            return 0;
          })
      ->add_option("--keep", arguments->keep, "How many stay; the latest is always one of them")
      ->required();
}

}  // namespace onebit::host
