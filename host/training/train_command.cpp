// SPDX-License-Identifier: Apache-2.0
// `onebit train CONFIG [--ranks N] [--out DIR] [--resume [FOLDER]]`: trains the model of [train], and leaves summary.json,
// metrics.jsonl and model.safetensors.
#include "training/train_command.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "command/loading.hpp"
#include "command/output.hpp"
#include "command/terminal.hpp"
#include "data_sets/data_sets.hpp"
#include "launch/interrupt.hpp"
#include "launch/launcher.hpp"
#include "launch/placement.hpp"
#include "models/models.hpp"
#include "training/checkpoint_schema.hpp"
#include "training/progress.hpp"
#include "training/rank_training.hpp"
#include "training/run_checkpoints.hpp"
#include "training/train_schema.hpp"
#include "training/training.hpp"

namespace onebit::host {
namespace {

struct TrainArguments {
  Source source;
  std::string out;
  int64_t ranks = 0;
  bool ranks_given = false;
  std::optional<std::string> resume;  // "": from the run's own checkpoints
  bool ignore_state = false;
};

std::filesystem::path results_folder(const TrainArguments& arguments, const std::string& name) {
  return arguments.out.empty() ? std::filesystem::path("out") / name : std::filesystem::path(arguments.out);
}

// As shells have it: 128 + the signal. A run that failed is an error, which its first rank tells.
int exit_code_of(const Summary& summary, const TrainLog& log) {
  if (summary.ending == Ending::interrupted) return 128 + summary.signal;
  if (summary.ending == Ending::failed && log.begun())
    throw Error(Code::invalid_argument, log.summary_file().string() + ": the run failed: " + summary.reason);
  return summary.ending == Ending::failed ? 1 : 0;
}

// As far as the launcher tells, before there is a session.
bool is_first_process() {
  const auto self = launched();
  return !self || self->rank == 0;
}

int run_train(const TrainArguments& arguments, const Run& run) {
  const Loaded loaded(arguments.source, run.logger, train_schema(), checkpoint_schema());
  const TrainSettings settings(loaded.configuration);
  const RanksAsked asked =
      arguments.ranks_given ? RanksAsked{arguments.ranks, "--ranks", true} : RanksAsked{settings.ranks, "train.ranks =", false};
  const Selection& communicator = loaded.configuration.communicator;
  const Ranks ranks =
      place_ranks(communicator, asked, run.arguments, communicators_there(loaded.registry, communicator.component->device));
  const std::string name = std::filesystem::path(arguments.source.config).stem().string();
  const std::filesystem::path folder = results_folder(arguments, name);
  const CheckpointPlan checkpoints =
      plan_checkpoints(CheckpointSettings(loaded.configuration.checkpoint), folder, arguments.resume, arguments.ignore_state);
  StandardOutput out;
  Progress progress(out.stream(), terminal_width());
  TrainLog log(progress, folder);
  if (is_first_process()) {
    require_room(checkpoints);
    log.prepare();
  }
  Models models;  // first, for without libtorch nothing below makes sense
  const std::string_view device = loaded.configuration.session.options().text("device");
  for (size_t place = 0; place < ranks.here(); ++place)
    models.push_back(make_model(settings.model, settings.seed, device_of(device, place)));
  const DataSet data = read_data(settings.data, kind_of_model(settings.model), settings.data_folder_of(loaded.manifest));
  if (ranks.size() > 0) const Dealing checked(settings, data.train->count(), ranks.size());
  const Interruptible interruptible(settings.grace);
  const Summary summary =
      run_training({name, loaded.registry, loaded.configuration, settings, data, checkpoints}, ranks, models, log);
  const int code = exit_code_of(summary, log);
  if (code == 0) out.require_whole();
  return code;
}

}  // namespace

void add_train(CLI::App& app, Run& run) {
  const auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand(
      "train",
      "Train the model that table [train] of the manifest names; write summary.json, metrics.jsonl and model.safetensors");
  arguments->source.add_to(*command);
  CLI::Option* ranks =
      command->add_option("--ranks", arguments->ranks,
                          "Number of ranks: threads or, with communicator tcp or mpi, processes; overrides train.ranks");
  command
      ->add_option("--out", arguments->out,
                   "Folder for the results; default: out/NAME, where NAME is the file name of CONFIG without .toml")
      ->type_name("DIR");
  const auto folder = std::make_shared<std::string>();
  CLI::Option* resume = command
                            ->add_option("--resume", *folder,
                                         "Go on from the latest whole checkpoint in FOLDER, or that FOLDER itself is; default: "
                                         "checkpoint.folder. Where there is none, the run begins")
                            ->type_name("[FOLDER]")
                            ->expected(0, 1);
  command->add_flag("--ignore-state", arguments->ignore_state,
                    "With --resume: take the parameters alone; the optimizer, the data and the steps begin afresh");
  command->callback([&run, arguments, ranks, resume, folder] {
    arguments->ranks_given = ranks->count() > 0;
    if (resume->count() > 0) arguments->resume = *folder;
    run.chosen = [&run, arguments] { run.exit_code = run_train(*arguments, run); };
  });
}

}  // namespace onebit::host
