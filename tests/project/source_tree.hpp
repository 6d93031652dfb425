// SPDX-License-Identifier: Apache-2.0
// The tree whose documents and scripts are tested.
#pragma once

#include <filesystem>

namespace onebit::test {

inline const std::filesystem::path root = ONEBIT_SOURCE_DIR;
constexpr int kUnavailable = 69;  // of scripts, where a machine can't have what they make

}  // namespace onebit::test
