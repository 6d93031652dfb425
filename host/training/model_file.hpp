// SPDX-License-Identifier: Apache-2.0
// A model's parameters in a safetensors file, by name, row by row: what a checkpoint and a run's folder have as
// model.safetensors, and what other software reads.
#pragma once

#include <filesystem>

#include "models/models.hpp"

namespace onebit::host {

inline constexpr const char* kModelFile = "model.safetensors";

// The file is there whole or not at all. Throws Error(unavailable) with the reason.
void write_model(const std::filesystem::path& file, Model& model);

// Throws Error(invalid_argument), which names the first tensor that the file lacks, has in another shape or type, or has and
// the model has not; nothing has been changed then.
void read_model(const std::filesystem::path& file, Model& model);

}  // namespace onebit::host
