// SPDX-License-Identifier: Apache-2.0
// What saves and deletions that were broken off have left in a root.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace onebit {

// Before a save: puts a checkpoint that was being replaced back in its place, where the one that was to replace it did not get
// there, and deletes all that is neither complete nor being saved. Answers "", or a line for each that could
// not be deleted. Throws Error(unavailable) when one cannot be put back.
std::string clean_up(const std::filesystem::path& root);

// Deletes a checkpoint that has been replaced, under the name of what is being deleted: half of it must never be taken for what
// may be put back. Answers "", or what could not be deleted, and why.
std::string remove_replaced(const std::filesystem::path& folder, uint64_t step);

void add_line(std::string& lines, const std::string& line);

}  // namespace onebit
