// SPDX-License-Identifier: Apache-2.0
// Which files may become part of this process: only those that nobody but root, the user and whom the manifest trusts can have
// changed. Nothing turns these checks off: no variable of the environment, no option; what others could have changed is loaded
// by its pinned hash alone (private_copy.hpp).
#pragma once

#include <filesystem>
#include <string>

#include "loading/owners.hpp"

namespace onebit {

struct Way {
  std::filesystem::path file;  // without links
  std::string doubt;           // why others could have changed it; "" when they can't
};

// The way to a regular file. It is without doubt when the file belongs to root, the user or one of the owners, and not
// everybody may write to it, nor to a folder on the way, by whatever link. A sticky folder, where temporary files live, is
// accepted for what belongs to one of these: there, nobody replaces another's file. Groups may write: who is in one is the
// owner's choice. Throws Error with the reason when no regular file is there.
Way way_to(const std::filesystem::path& file, const Owners& owners = {});

// For people: absolute, and without "." and "//"; ".." stays, for behind a link it means another folder than it seems.
std::filesystem::path written_out(const std::filesystem::path& file);

}  // namespace onebit
