// The table [train], which belongs to the command and not to the core: its schema, and its values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "onebit/abi.h"
#include "onebit/configuration.hpp"

namespace onebit::host {

std::vector<const onebit_schema*> train_schema();

inline constexpr int kMostRanks = 64;  // threads of one process

struct TrainSettings {
  explicit TrainSettings(const Configuration& configuration);

  std::string model, data;
  std::string schedule;     // of the learning rate: constant or linear
  std::string data_folder;  // relative to the manifest
  int ranks;
  int64_t epochs;
  int64_t batch;    // samples a rank and step
  int64_t samples;  // of the training set; 0: all
  uint64_t seed;
  int64_t log_every;  // steps
};

}  // namespace onebit::host
