// SPDX-License-Identifier: Apache-2.0
// What the operating system refused, in words for the person who can mend it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace onebit {

// "FILE: WHAT: No space left on device; free space there, ...". what: such as "cannot be written"; error: an errno.
std::string file_error_text(const std::filesystem::path& file, std::string_view what, int error);
// Throws it as Error(unavailable), with the errno as its native code.
[[noreturn]] void fail_file(const std::filesystem::path& file, std::string_view what, int error);

}  // namespace onebit
