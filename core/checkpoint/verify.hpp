// SPDX-License-Identifier: Apache-2.0
// Whether a checkpoint's files are what was saved.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "checkpoint/record.hpp"
#include "onebit/safetensors.hpp"

namespace onebit {

// The first thing that is not as the record says: a file is missing, too short or too long, or bytes of it have another hash.
// "" when all is well. What the system refuses to read is a fault too. Of `parts` ranks each looks at one part, which together
// are everything, and have about as many pieces.
std::string find_fault(const std::filesystem::path& folder, const CheckpointRecord& record, uint64_t part = 0,
                       uint64_t parts = 1);

// What safetensors files of a checkpoint of this step say in their header, so that a file of another one is told from damage;
// "format" is for transformers, which asks for it.
TensorMetadata checkpoint_metadata(uint64_t step);

}  // namespace onebit
