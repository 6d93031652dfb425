// SPDX-License-Identifier: Apache-2.0
// Limits of a manifest, checked before toml11 sees the text: it reads nested arrays and dotted keys by recursion, and a hostile
// file must not end the process.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace onebit {

inline constexpr size_t most_manifest_bytes = size_t{1} << 20;

// Throws Error(invalid_argument) with the location where the text is too large, too wide, too deep or not UTF-8. Returns where
// its headings begin, [table] and [[table.array]]: the offsets of their lines.
std::vector<size_t> check_toml_bounds(std::string_view text, const std::string& name);
// Bytes of the character that text begins with; 0 when that is not UTF-8 (no overlong forms, no surrogates).
size_t utf8_size(std::string_view text);

}  // namespace onebit
