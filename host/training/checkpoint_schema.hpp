// SPDX-License-Identifier: Apache-2.0
// The table [checkpoint], which belongs to the command and not to the core: its schema, and its values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "onebit/abi.h"
#include "onebit/manifest.hpp"

namespace onebit::host {

std::vector<const onebit_schema*> checkpoint_schema();

struct CheckpointSettings {
  CheckpointSettings() = default;  // no checkpoints
  explicit CheckpointSettings(const ResolvedTable& table);

  std::string folder;  // relative to that of the run's results; "": none
  int64_t every = 0;   // steps; 0: at the end of the run alone
  int keep = 2;
  bool async = true;
  std::string hash = "xxh3-128";
  bool skip_if_busy = false;
  bool on_signal = true;
  bool end_on_error = false;
  std::string common;  // what is to be the same on all ranks, one option a line; of the folder, whether there is one
};

}  // namespace onebit::host
