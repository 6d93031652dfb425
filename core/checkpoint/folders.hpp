// SPDX-License-Identifier: Apache-2.0
// Folders that are there after a loss of power as well: what was made, renamed or removed in one lasts once it is synchronised.
#pragma once

#include <filesystem>
#include <string>

namespace onebit {

// With those above it, each synchronised into the one that holds it. Throws Error(unavailable).
void make_folders(const std::filesystem::path& folder);
// Throws Error(unavailable). A file system that synchronises no folders, as some of networks, is taken as it is.
void sync_folder(const std::filesystem::path& folder);

// Throws Error(unavailable). from and to are in one folder.
void rename_within(const std::filesystem::path& from, const std::filesystem::path& to);
// Both names are there at every moment. False, and nothing done, where the file system cannot do that.
bool exchange(const std::filesystem::path& one, const std::filesystem::path& other);

// The folder and what is in it, of which no link is followed. Answers "", or which could not be removed, and why.
std::string remove_folder(const std::filesystem::path& folder);

}  // namespace onebit
