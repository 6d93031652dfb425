// SPDX-License-Identifier: Apache-2.0
// Matching without recursion: time is the product of the lengths at most, whatever the pattern.
#include "manifest/name_pattern.hpp"

#include <algorithm>
#include <limits>

namespace onebit {
namespace {

// Letters that are compared to find the nearest name: a hostile file must not cost more.
constexpr size_t longest_compared = 128;
constexpr size_t most_names = 3;

}  // namespace

// After a mismatch the last star takes one character more; an earlier star never needs to.
bool matches(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

size_t distance(std::string_view pattern, std::string_view name) {
  pattern = pattern.substr(0, longest_compared);
  name = name.substr(0, longest_compared);
  std::vector<size_t> above(name.size() + 1), row(name.size() + 1);
  for (size_t n = 0; n <= name.size(); ++n) above[n] = n;
  for (const char letter : pattern) {
    const bool any = letter == '*';
    row[0] = above[0] + !any;
    for (size_t n = 1; n <= name.size(); ++n) {
      if (any)
        row[n] = std::min(above[n], row[n - 1]);
      else
        row[n] = std::min({above[n] + 1, row[n - 1] + 1, above[n - 1] + (letter != '?' && letter != name[n - 1])});
    }
    above.swap(row);
  }
  return above[name.size()];
}

std::string nearest_names(std::string_view pattern, const std::vector<std::string_view>& names) {
  if (names.empty()) return "; the model has no tensors";
  size_t least = std::numeric_limits<size_t>::max();
  std::vector<std::string_view> best;
  for (const std::string_view name : names) {
    const size_t letters = distance(pattern, name);
    if (letters < least) best.clear();
    least = std::min(least, letters);
    if (letters == least && best.size() < most_names) best.push_back(name);
  }
  std::string text = best.size() == 1 ? "; the nearest is " : "; the nearest are ";
  for (size_t i = 0; i < best.size(); ++i) text += (i ? ", '" : "'") + std::string(best[i]) + "'";
  return text;
}

}  // namespace onebit
