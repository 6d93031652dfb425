// SPDX-License-Identifier: Apache-2.0
// Spelling help: the known word that somebody probably meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onebit {

// The number of letters to insert, drop, replace or swap with their neighbour. Case, '-' and '_' do not count.
size_t edit_distance(std::string_view a, std::string_view b);
// The nearest of the known words, or "" when none is close enough to be meant.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known);
// "; did you mean 'lr'?", or else "; known: 'lr', 'betas'" (what: "known keys").
std::string suggestion(std::string_view word, const std::vector<std::string_view>& known, std::string_view what);

}  // namespace onebit
