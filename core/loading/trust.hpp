// SPDX-License-Identifier: Apache-2.0
// Which files may become part of this process: only those that nobody but root and the user can have changed. Nothing turns
// these checks off: no option, no variable of the environment.
#pragma once

#include <filesystem>

namespace onebit {

// The file's path without links, once everything on the way to it has been found sound: the file is a regular one that belongs
// to root or the user, and not everybody may write to it, nor to a folder on the way, by whatever link. A sticky folder, where
// temporary files live, is accepted for what belongs to root or the user: there, nobody replaces another's file.
// Groups may write: who is in one is the owner's choice. Throws Error with the reason.
std::filesystem::path trusted(const std::filesystem::path& file);

// For people: absolute, and without "." and "//"; ".." stays, for behind a link it means another folder than it seems.
std::filesystem::path written_out(const std::filesystem::path& file);

}  // namespace onebit
