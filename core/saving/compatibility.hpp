// SPDX-License-Identifier: Apache-2.0
// Whether a checkpoint fits a session, judged before anything is overwritten; the same on every rank, for it goes by the record
// and the configuration alone.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "saving/description.hpp"
#include "saving/parts.hpp"

namespace onebit {

// The parameters have the same names and shapes, in any order. Throws Error(invalid_argument) that names the first that
// differs.
void require_same_model(const SessionParts& parts, const SavedSession& saved, const std::filesystem::path& folder);
// So do the optimizer, its state, and the codec, where something of it was saved; and the stage is one that the options allow.
// Throws Error(invalid_argument) with both values, and that LoadOptions::ignore_state would take the parameters alone.
void require_same_state(const SessionParts& parts, const RunFacts& facts, const SavedSession& saved,
                        const std::filesystem::path& folder);

}  // namespace onebit
