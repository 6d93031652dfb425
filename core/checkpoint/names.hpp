// SPDX-License-Identifier: Apache-2.0
// The names of what is in a root of checkpoints, and in a checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "onebit/checkpoint.hpp"

namespace onebit {

inline constexpr std::string_view kRecordName = "checkpoint.json", kLatestName = "latest";

// "step-00001234", with ".unfinished" and the like by its state.
std::string folder_name(uint64_t step, CheckpointState state = CheckpointState::complete);

struct FolderName {
  uint64_t step;
  CheckpointState state;
};
// Nothing for any other name, such as step-1234, which is not how this step is written.
std::optional<FolderName> parse_folder_name(std::string_view name);

// "rank-00002-of-00004.safetensors" is the third and last but one: ranks count from 0.
std::string rank_file_name(int rank, int ranks);

}  // namespace onebit
