// SPDX-License-Identifier: Apache-2.0
// Which checkpoint is loaded: the first, in the order of loadable_checkpoints, that all ranks together find whole.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/record.hpp"
#include "onebit/communicator.hpp"
#include "saving/agreed.hpp"

namespace onebit {

struct FoundCheckpoint {
  std::filesystem::path folder;
  CheckpointRecord record;
  std::vector<std::string> refused;  // those before it, each with the reason
};

// Collective. place: of one checkpoint, or a root. Ranks share the work of verifying, and see the same files.
Agreed<FoundCheckpoint> find_checkpoint(Communicator& communicator, const std::filesystem::path& place);

}  // namespace onebit
