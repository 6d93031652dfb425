// A training run on ranks that are threads of this process. It knows neither libtorch nor where its data came from.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "idx.hpp"
#include "models.hpp"
#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"
#include "summary.hpp"
#include "train_log.hpp"
#include "train_schema.hpp"

namespace onebit::host {

// How a training set is dealt out. Every rank takes the same number of steps; what does not fill one is left out of its epoch.
struct Dealing {
  // Throws Error(invalid_argument) when there is not enough for one step.
  Dealing(const TrainSettings& settings, const Images& train);

  int64_t samples;
  int64_t steps_per_epoch;
};

using ModelMaker = std::function<std::unique_ptr<Model>(const std::string& model, uint64_t seed)>;

// Trains, evaluates after each epoch, and answers what came of it. Ends early, without a final accuracy, on Ctrl-C
// (Interruptible): all ranks after the same step, with the next line of the log.
Summary run_training(const Registry& registry, const Configuration& configuration, const TrainSettings& settings,
                     const DataSet& data, const ModelMaker& make_model, TrainLog& log);

}  // namespace onebit::host
