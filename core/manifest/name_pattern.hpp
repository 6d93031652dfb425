// SPDX-License-Identifier: Apache-2.0
// Patterns of tensor names: `*` stands for any run of characters, `?` for one, all else for itself (brackets, too: names have
// them).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onebit {

bool matches(std::string_view pattern, std::string_view name);
// The fewest letters to insert, drop or replace for the pattern to match the name.
size_t distance(std::string_view pattern, std::string_view name);
// "; the nearest are 'fc1.bias', 'fc2.bias'": the names that a pattern without a match may have meant.
std::string nearest_names(std::string_view pattern, const std::vector<std::string_view>& names);

}  // namespace onebit
