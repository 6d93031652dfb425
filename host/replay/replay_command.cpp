// SPDX-License-Identifier: Apache-2.0
// `onebit replay CONFIG --gradients IN --out OUT --ranks N`: recorded gradients through any configured optimizer.
#include "replay/replay_command.hpp"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "command/loading.hpp"
#include "command/output.hpp"
#include "launch/placement.hpp"
#include "replay/gradient_trace.hpp"
#include "replay/replay.hpp"
#include "training/checkpoint_schema.hpp"
#include "training/train_schema.hpp"

namespace onebit::host {
namespace {

struct ReplayArguments {
  Source source;
  std::string gradients, out;
  int64_t ranks = 0;
  bool ranks_given = false;
};

Ranks place(const ReplayArguments& arguments, const Loaded& loaded, const GradientTrace& trace, const Run& run) {
  const RanksAsked asked = arguments.ranks_given ? RanksAsked{arguments.ranks, "--ranks", true}
                                                 : RanksAsked{trace.ranks(), arguments.gradients + ": ranks:", false};
  if (arguments.ranks_given && arguments.ranks >= 1) check_ranks(trace, arguments.ranks, "--ranks asks for");
  const Selection& communicator = loaded.configuration.communicator;
  const Ranks ranks =
      place_ranks(communicator, asked, run.arguments, communicators_there(loaded.registry, communicator.component->device));
  if (ranks.size() > 0) check_ranks(trace, ranks.size(), "the launcher started");
  return ranks;
}

void run_replay(const ReplayArguments& arguments, const Run& run) {
  const Loaded loaded(arguments.source, run.logger, train_schema(), checkpoint_schema());
  const GradientTrace trace(arguments.gradients);
  for (const auto* entry : trace.left_out())
    run.logger->warn("{}: '{}' is left out: its type, {}, is none that parameters and gradients have", arguments.gradients,
                     entry->name, entry->dtype);
  const Ranks ranks = place(arguments, loaded, trace, run);
  const std::optional<int64_t> skipped = replay(loaded.registry, loaded.configuration, trace, ranks, arguments.out);
  if (!skipped) return;
  print(fmt::format("{}: {} tensors after steps {} to {} on {} ranks, {} skipped\n", arguments.out, trace.tensors().size(),
                    trace.first_step(), trace.first_step() + trace.steps() - 1, trace.ranks(), *skipped));
}

}  // namespace

void add_replay(CLI::App& app, Run& run) {
  const auto arguments = std::make_shared<ReplayArguments>();
  CLI::App* command =
      app.add_subcommand("replay", "Run the optimizer on recorded gradients; write the parameters after each step");
  arguments->source.add_to(*command);
  command
      ->add_option(
          "--gradients", arguments->gradients,
          "The recorded gradients: a safetensors file with parameter/<name> and gradient/<step>/<rank>/<name>, in F32, "
          "BF16 or F16")
      ->required()
      ->type_name("FILE");
  command->add_option("--out", arguments->out, "The safetensors file to write, with parameter/<step>/<rank>/<name>")
      ->required()
      ->type_name("FILE");
  CLI::Option* ranks = command->add_option("--ranks", arguments->ranks,
                                           "Number of ranks; must be that of the recorded gradients, which is the default");
  command->callback([&run, arguments, ranks] {
    arguments->ranks_given = ranks->count() > 0;
    run.chosen = [&run, arguments] { run_replay(*arguments, run); };
  });
}

}  // namespace onebit::host
