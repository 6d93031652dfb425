// SPDX-License-Identifier: Apache-2.0
// SHA-256 of files, by which manifests pin plugins.
#pragma once

#include <string>

namespace onebit {

// Of the whole file, as 64 hexadecimal digits. Does not move the descriptor's position. Throws Error when reading fails.
std::string sha256_of(int descriptor);

}  // namespace onebit
