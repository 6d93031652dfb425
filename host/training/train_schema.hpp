// SPDX-License-Identifier: Apache-2.0
// The table [train], which belongs to the command and not to the core: its schema, and its values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "onebit/abi.h"
#include "onebit/configuration.hpp"
#include "onebit/manifest.hpp"
#include "training/schedule.hpp"

namespace onebit::host {

std::vector<const onebit_schema*> train_schema();

struct TrainSettings {
  // Throws Error(invalid_argument) for a model that does not take what the data set has.
  explicit TrainSettings(const Configuration& configuration);

  std::string model, data;
  std::string data_folder;  // relative to the manifest; "": where Debian's package puts the data set
  int ranks;                // asked for
  int64_t epochs;
  int64_t batch;           // samples a rank, micro-batch
  int64_t accumulate;      // micro-batches a step
  int64_t samples;         // of the training set; 0: all
  double label_smoothing;  // share of all classes alike in what is trained for
  Schedule schedule;       // of the learning rate
  int64_t evaluate_every;  // steps; 0: after each epoch alone
  uint64_t seed;
  int64_t log_every;   // steps
  double grace;        // seconds from a signal to the end of the process; 0: no limit
  std::string common;  // what is to be the same on all ranks, one option a line; of data_folder only the contents are

  // Where the data set is read from; empty: where Debian's package puts it.
  std::filesystem::path data_folder_of(const Manifest& manifest) const {
    return data_folder.empty() ? std::filesystem::path() : manifest.folder() / data_folder;
  }
  int64_t samples_a_step(int64_t on_ranks) const { return batch * accumulate * on_ranks; }
};

}  // namespace onebit::host
