// The table [train], which belongs to the command and not to the core: its schema, and its values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "onebit/abi.h"
#include "onebit/configuration.hpp"

namespace onebit::host {

std::vector<const onebit_schema*> train_schema();

inline constexpr int kMostThreads = 64;      // ranks that are threads of one process
inline constexpr int kMostProcesses = 4096;  // ranks that are processes

struct TrainSettings {
  explicit TrainSettings(const Configuration& configuration);

  std::string model, data;
  std::string schedule;     // of the learning rate: constant or linear
  std::string data_folder;  // relative to the manifest
  int ranks;                // asked for
  int64_t epochs;
  int64_t batch;    // samples a rank and step
  int64_t samples;  // of the training set; 0: all
  uint64_t seed;
  int64_t log_every;   // steps
  std::string common;  // what is to be the same on all ranks, one option a line; of data_folder only the contents are
};

}  // namespace onebit::host
