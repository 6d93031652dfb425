// SPDX-License-Identifier: Apache-2.0
// Training runs of softmax regression on ranks that are threads, with all that they leave behind.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "data_sets/data_sets.hpp"
#include "regression.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "support/small_data_set.hpp"
#include "training/training.hpp"

namespace onebit::test {

struct TrainingRun {
  ScratchFolder folder;
  std::ostringstream told;
  host::Models models;
  host::Summary summary;  // unless something was thrown

  const Regression& model(size_t rank) const { return dynamic_cast<const Regression&>(*models.at(rank)); }
  std::vector<nlohmann::json> metrics() const {
    std::vector<nlohmann::json> lines;
    std::istringstream all(contents_of(folder / "out/metrics.jsonl"));
    for (std::string line; std::getline(all, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  std::vector<nlohmann::json> evaluations() const {
    std::vector<nlohmann::json> lines = metrics();
    std::erase_if(lines, [](const nlohmann::json& line) { return !line.contains("test_loss"); });
    return lines;
  }
  nlohmann::json written() const { return nlohmann::json::parse(contents_of(folder / "out/summary.json")); }
};

// session: lines of that table.
inline Configuration training_configuration(const std::string& optimizer, const std::string& train,
                                            const std::string& session = "") {
  const std::string text = "[optimizer]\nplugin = " + optimizer + "\n[train]\n" + train +
                           "\n[communicator]\nplugin = \"threads\"\n[session]\n" + session;
  return {plugins(), Manifest::parse(text, "test.toml", "."), host::train_schema()};
}

// 75 steps on 2 ranks. hook_rank: whose model gets the hook.
inline void train(TrainingRun& run, int ranks, const Configuration& configuration, const Regression::Hook& hook = {},
                  int hook_rank = 0, const host::CheckpointPlan& checkpoints = {}) {
  const host::DataSet data = host::image_data(small_images(403, 1), small_images(101, 2));
  const host::TrainSettings settings(configuration);
  host::Progress progress(run.told, 0);
  host::TrainLog log(progress, run.folder / "out");
  run.models.clear();
  for (int rank = 0; rank < ranks; ++rank)
    run.models.push_back(std::make_unique<Regression>(rank == hook_rank ? hook : Regression::Hook()));
  run.summary = host::run_training({"test", plugins(), configuration, settings, data, checkpoints}, host::Ranks::threads(ranks),
                                   run.models, log);
}

}  // namespace onebit::test
