// `onebit replay CONFIG --gradients IN --out OUT --ranks N`: recorded gradients through any configured optimizer.
#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <string>

#include "command.hpp"
#include "gradient_trace.hpp"
#include "loading.hpp"
#include "onebit/error.hpp"
#include "replay.hpp"
#include "train_schema.hpp"

namespace onebit::host {
namespace {

struct ReplayArguments {
  Source source;
  std::string gradients, out;
  int ranks = 0;
  bool ranks_given = false;
};

void check_ranks(const ReplayArguments& arguments, const GradientTrace& trace) {
  if (arguments.ranks_given && (arguments.ranks < 1 || arguments.ranks > kMostRanks))
    throw Error(Code::invalid_argument,
                fmt::format("--ranks {}: expected a number of ranks from 1 to {}", arguments.ranks, kMostRanks));
  if (trace.ranks() > kMostRanks)
    throw Error(Code::unsupported, fmt::format("{}: has gradients of {} ranks; at most {} can be replayed in one process",
                                               arguments.gradients, trace.ranks(), kMostRanks));
  if (!arguments.ranks_given || arguments.ranks == trace.ranks()) return;
  const std::string& name = trace.tensors().front().name;
  throw Error(Code::invalid_argument,
              arguments.ranks > trace.ranks()
                  ? fmt::format("{}: '{}' is missing: the trace has ranks 0 to {}, --ranks asks for {}", arguments.gradients,
                                GradientTrace::gradient_key(trace.first_step(), trace.ranks(), name), trace.ranks() - 1,
                                arguments.ranks)
                  : fmt::format("{}: '{}' would be left out: the trace has ranks 0 to {}, --ranks asks for {}",
                                arguments.gradients, GradientTrace::gradient_key(trace.first_step(), arguments.ranks, name),
                                trace.ranks() - 1, arguments.ranks));
}

void run_replay(const ReplayArguments& arguments, const std::shared_ptr<spdlog::logger>& logger) {
  const Loaded loaded(arguments.source, logger);
  const GradientTrace trace(arguments.gradients);
  check_ranks(arguments, trace);
  const int64_t skipped = replay(loaded.registry, loaded.configuration, trace, arguments.out);
  std::cout << fmt::format("{}: {} tensors after steps {} to {} on {} ranks, {} skipped\n", arguments.out,
                           trace.tensors().size(), trace.first_step(), trace.first_step() + trace.steps() - 1, trace.ranks(),
                           skipped);
}

}  // namespace

void add_replay(CLI::App& app, Run& run) {
  const auto arguments = std::make_shared<ReplayArguments>();
  CLI::App* command =
      app.add_subcommand("replay", "Push recorded gradients through a configuration; record what becomes of the parameters");
  arguments->source.add_to(*command);
  command
      ->add_option("--gradients", arguments->gradients,
                   "The trace: a safetensors file with parameter/<name> and gradient/<step>/<rank>/<name>")
      ->required()
      ->type_name("FILE");
  command->add_option("--out", arguments->out, "The file to write: safetensors, parameter/<step>/<rank>/<name>")
      ->required()
      ->type_name("FILE");
  CLI::Option* ranks = command->add_option("--ranks", arguments->ranks, "The ranks of the trace; left out: all that it has");
  command->callback([&run, arguments, ranks] {
    arguments->ranks_given = ranks->count() > 0;
    run.chosen = [&run, arguments] { run_replay(*arguments, run.logger); };
  });
}

}  // namespace onebit::host
