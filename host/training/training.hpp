// SPDX-License-Identifier: Apache-2.0
// A training run on ranks that are threads of this process, or of which this process is one. It knows neither libtorch nor
// where its data came from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data_sets/data_set.hpp"
#include "launch/ranks.hpp"
#include "models/models.hpp"
#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"
#include "training/run_checkpoints.hpp"
#include "training/summary.hpp"
#include "training/train_log.hpp"
#include "training/train_schema.hpp"

namespace onebit::host {

struct TrainingPlan {
  std::string name;  // for the summary
  const Registry& registry;
  const Configuration& configuration;
  const TrainSettings& settings;
  const DataSet& data;
  CheckpointPlan checkpoints = {};
};
using Models = std::vector<std::unique_ptr<Model>>;

// Trains one model for each rank that runs here, evaluates as it is told to, and answers what came of it: for rank 0, where it
// runs here, whose log tells it all and has the summary before any rank leaves. Ends early, without a final evaluation, on
// Ctrl-C (Interruptible): all ranks after the same step, about a quarter of a second or a step later. Where something is
// thrown, the summary says that the run failed, and why. A run whose last step was skipped, or more than half of whose steps
// were, or whose loss on the test set is not finite, has failed as well, although nothing is thrown.
Summary run_training(const TrainingPlan& plan, const Ranks& ranks, const Models& models, TrainLog& log);

}  // namespace onebit::host
