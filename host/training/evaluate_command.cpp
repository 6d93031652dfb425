// SPDX-License-Identifier: Apache-2.0
// `onebit evaluate CONFIG --checkpoint FOLDER`: the loss and the accuracy of a saved model on the test set of [train].
#include "training/evaluate_command.hpp"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "command/loading.hpp"
#include "command/output.hpp"
#include "data_sets/data_sets.hpp"
#include "launch/placement.hpp"
#include "onebit/checkpoint.hpp"
#include "onebit/error.hpp"
#include "training/checkpoint_schema.hpp"
#include "training/evaluation.hpp"
#include "training/model_file.hpp"
#include "training/train_schema.hpp"

namespace onebit::host {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct EvaluateArguments {
  Source source;
  std::string checkpoint;
  bool as_json = false;
};

struct SavedModel {
  fs::path file;
  std::optional<uint64_t> step;  // none: it is of no checkpoint
};

// The first of a root's checkpoints that is whole; those before it are told.
SavedModel model_in_checkpoints(const std::vector<fs::path>& folders, spdlog::logger& logger) {
  std::string refused;
  for (const fs::path& folder : folders) {
    try {
      verify_checkpoint(folder);
      if (!refused.empty()) logger.warn("not taken:{}", refused);
      return {folder / kModelFile, read_checkpoint_info(folder).step};
    } catch (const Error& e) {
      refused += "\n  " + std::string(e.what());
    }
  }
  throw Error(Code::invalid_argument, "none of these checkpoints is whole:" + refused);
}

// where: a checkpoint, a root of checkpoints, the folder of a run's results, or the file itself.
SavedModel find_model(const fs::path& where, spdlog::logger& logger) {
  std::error_code ignored;
  if (fs::is_regular_file(where, ignored)) return {where, std::nullopt};
  if (const std::vector<fs::path> folders = loadable_checkpoints(where); !folders.empty())
    return model_in_checkpoints(folders, logger);
  if (fs::exists(where / kModelFile, ignored)) return {where / kModelFile, std::nullopt};
  throw Error(Code::invalid_argument, "--checkpoint " + where.string() +
                                          ": expected a checkpoint, a folder of checkpoints, or the folder of a run with " +
                                          kModelFile + "; found none of these");
}

std::string result_json(const TrainSettings& settings, const SavedModel& saved, int64_t samples, const TestResult& result) {
  ordered_json out;
  out["file"] = saved.file.string();
  out["step"] = saved.step ? ordered_json(*saved.step) : ordered_json(nullptr);
  out["model"] = settings.model;
  out["data"] = settings.data;
  out["samples"] = samples;
  out["test_loss"] = std::isfinite(result.loss) ? ordered_json(result.loss) : ordered_json(nullptr);
  if (!result.by_target.empty()) {
    out["test_loss_by_target"] = result.by_target;
    out["test_loss_by_input"] = result.by_input;
  }
  out["test_accuracy"] = result.accuracy ? ordered_json(*result.accuracy) : ordered_json(nullptr);
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string result_text(const SavedModel& saved, int64_t samples, const TestResult& result) {
  std::string text = saved.file.string() + ": ";
  if (saved.step) text += fmt::format("step {}, ", *saved.step);
  text += fmt::format("test loss {:.4f}", result.loss);
  if (result.accuracy) text += fmt::format(", test accuracy {:.2f} %", 100 * *result.accuracy);
  return text + fmt::format(" on {} samples\n", samples);
}

void evaluate_saved(const EvaluateArguments& arguments, const Run& run) {
  const Loaded loaded(arguments.source, run.logger, train_schema(), checkpoint_schema());
  const TrainSettings settings(loaded.configuration);
  const SavedModel saved = find_model(arguments.checkpoint, *run.logger);
  const std::unique_ptr<Model> model =
      make_model(settings.model, settings.seed, device_of(loaded.configuration.session.options().text("device"), 0));
  read_model(saved.file, *model);
  const DataSet data = read_data(settings.data, kind_of_model(settings.model), settings.data_folder_of(loaded.manifest));
  const TestResult result = evaluate_alone(data, *model);
  const int64_t samples = data.test->count();
  print(arguments.as_json ? result_json(settings, saved, samples, result) : result_text(saved, samples, result));
}

}  // namespace

void add_evaluate(CLI::App& app, Run& run) {
  const auto arguments = std::make_shared<EvaluateArguments>();
  CLI::App* command = app.add_subcommand("evaluate", "Evaluate a saved model on the test set; print its loss and its accuracy");
  arguments->source.add_to(*command);
  command
      ->add_option("--checkpoint", arguments->checkpoint,
                   "A checkpoint; or a folder of checkpoints, of which the latest whole one is taken; or the folder of a run's "
                   "results, or its model.safetensors")
      ->required()
      ->type_name("FOLDER");
  command->add_flag("--json", arguments->as_json, "Print the result as JSON");
  command->callback([&run, arguments] { run.chosen = [&run, arguments] { evaluate_saved(*arguments, run); }; });
}

}  // namespace onebit::host
