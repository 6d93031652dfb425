// Which files may become part of this process: only those that nobody but root and the user can have changed.
#pragma once

#include <filesystem>
#include <string>

namespace onebit {

// "" when the file may be loaded, else the reason: not a regular file, owned by somebody else, world-writable itself or in a
// world-writable folder. A sticky folder, where temporary files live, is accepted: there, nobody replaces another's file.
std::string distrust(const std::filesystem::path& file);

}  // namespace onebit
