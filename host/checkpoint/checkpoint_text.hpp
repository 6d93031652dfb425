// SPDX-License-Identifier: Apache-2.0
// What there is in a folder, as people and as programs read it. In all of these `folder` is a root of checkpoints or one
// checkpoint. They throw Error(invalid_argument) where there is neither.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "onebit/checkpoint.hpp"

namespace onebit::host {

std::string shown_text(const std::filesystem::path& folder);
std::string shown_json(const std::filesystem::path& folder);

struct Verdict {
  std::filesystem::path folder;
  std::string fault;  // "": whole
};
// Reads all that could be loaded.
std::vector<Verdict> verdicts_of(const std::filesystem::path& folder);
std::string verdicts_text(const std::vector<Verdict>& verdicts);
std::string verdicts_json(const std::vector<Verdict>& verdicts);

std::string pruned_text(const PrunedCheckpoints& pruned);
std::string pruned_json(const PrunedCheckpoints& pruned);

}  // namespace onebit::host
