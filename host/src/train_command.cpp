// `onebit train CONFIG [--ranks N] [--out DIR]`: trains the model of [train], and leaves summary.json and metrics.jsonl.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "command.hpp"
#include "idx.hpp"
#include "interrupt.hpp"
#include "loading.hpp"
#include "models.hpp"
#include "onebit/error.hpp"
#include "progress.hpp"
#include "train_schema.hpp"
#include "training.hpp"

namespace onebit::host {
namespace {

constexpr int kInterrupted = 130;  // as shells say it: 128 + SIGINT

struct TrainArguments {
  Source source;
  std::string out;
  int64_t ranks = 0;
  bool ranks_given = false;
};

TrainSettings settings_of(const TrainArguments& arguments, const Loaded& loaded) {
  TrainSettings settings(loaded.configuration);
  if (!arguments.ranks_given) return settings;
  if (arguments.ranks < 1 || arguments.ranks > kMostRanks)
    throw Error(Code::invalid_argument,
                fmt::format("--ranks {}: expected a number of ranks from 1 to {}", arguments.ranks, kMostRanks));
  settings.ranks = static_cast<int>(arguments.ranks);
  return settings;
}

std::filesystem::path make_folder(const TrainArguments& arguments) {
  std::filesystem::path folder = arguments.out.empty() ? "out" / std::filesystem::path(arguments.source.config).stem()
                                                       : std::filesystem::path(arguments.out);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error(Code::unavailable, folder.string() + ": cannot be made: " + error.message(), error.value());
  return folder;
}

std::string opening(const Configuration& configuration, const TrainSettings& settings, const DataSet& data) {
  const auto* compressor = configuration.compressor.component;
  return fmt::format("{} on {} ({} samples), {} ranks: optimizer {}, compressor {}, communicator {}", settings.model,
                     settings.data, data.train.count, settings.ranks, configuration.optimizer.component->name,
                     compressor == nullptr ? "none" : compressor->name, configuration.communicator.component->name);
}

std::string closing(const Summary& summary, const std::filesystem::path& file) {
  const std::string accuracy =
      summary.final_test_accuracy ? fmt::format("test accuracy {:.2f} %", 100 * *summary.final_test_accuracy) : "interrupted";
  return fmt::format("{}: {}, {} steps in {:.1f} s, {:.1f} MB sent a rank", file.string(), accuracy, summary.steps,
                     summary.train_seconds, static_cast<double>(summary.traffic.total()) / 1e6);
}

int run_train(const TrainArguments& arguments, const std::shared_ptr<spdlog::logger>& logger) {
  const Loaded loaded(arguments.source, logger);
  const TrainSettings settings = settings_of(arguments, loaded);
  make_model(settings.model, settings.seed);  // without libtorch nothing below makes sense
  const DataSet data = read_fashion_mnist(loaded.manifest.folder() / settings.data_folder);
  const Dealing checked(settings, data.train);
  const std::filesystem::path folder = make_folder(arguments);
  Progress progress(std::cout, Progress::terminal_width());
  TrainLog log(progress, folder / "metrics.jsonl");
  log.note(opening(loaded.configuration, settings, data));
  const Interruptible interruptible;
  Summary summary = run_training(loaded.registry, loaded.configuration, settings, data, make_model, log);
  summary.config = std::filesystem::path(arguments.source.config).stem().string();
  write_whole(folder / "summary.json", to_json(summary));
  log.note(closing(summary, folder / "summary.json"));
  return summary.interrupted ? kInterrupted : 0;
}

}  // namespace

void add_train(CLI::App& app, Run& run) {
  const auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "Train the model of [train]; leave summary.json and metrics.jsonl");
  arguments->source.add_to(*command);
  CLI::Option* ranks = command->add_option("--ranks", arguments->ranks, "Ranks, each a thread; overrides train.ranks");
  command->add_option("--out", arguments->out, "The folder for the results; left out: out/<name of CONFIG>")->type_name("DIR");
  command->callback([&run, arguments, ranks] {
    arguments->ranks_given = ranks->count() > 0;
    run.chosen = [&run, arguments] { run.exit_code = run_train(*arguments, run.logger); };
  });
}

}  // namespace onebit::host
