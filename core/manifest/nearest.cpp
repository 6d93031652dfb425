// SPDX-License-Identifier: Apache-2.0
// Spelling help: edit distance with transpositions (optimal string alignment), over three rows.
#include "manifest/nearest.hpp"

#include <algorithm>

namespace onebit {
namespace {

std::string folded(std::string_view word) {
  std::string out(word);
  for (char& c : out) c = c == '-' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// Words longer than any key are cut: nobody mistypes those, and a hostile file must not cost quadratic time.
constexpr size_t longest = 64;

}  // namespace

size_t edit_distance(std::string_view left, std::string_view right) {
  const std::string a = folded(left.substr(0, longest)), b = folded(right.substr(0, longest));
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, std::min(word.size(), longest) / 3) + 1;
  for (std::string_view candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && distance < std::max(word.size(), candidate.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string suggestion(std::string_view word, const std::vector<std::string_view>& known, std::string_view what) {
  if (const std::string_view near = nearest(word, known); !near.empty()) return "; did you mean '" + std::string(near) + "'?";
  if (known.empty()) return "; there are no " + std::string(what);
  std::string text = "; " + std::string(what) + ": ";
  for (size_t i = 0; i < known.size(); ++i) text += (i ? ", '" : "'") + std::string(known[i]) + "'";
  return text;
}

}  // namespace onebit
