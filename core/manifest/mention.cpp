// SPDX-License-Identifier: Apache-2.0
// Words in which a key is looked for.
#include "manifest/mention.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace onebit {
namespace {

bool is_of_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// i of what follows the key: `[i]`, `.i`.
size_t element_in(std::string_view rest) {
  size_t index = Mention::none;
  if (rest.size() < 2 || (rest.front() != '[' && rest.front() != '.')) return index;
  const char* const end = rest.data() + rest.size();
  return std::from_chars(rest.data() + 1, end, index).ec == std::errc() ? index : Mention::none;
}

}  // namespace

Mention mention_of(std::string_view key, std::string_view words) {
  Mention best;
  for (size_t at = words.find(key); at != std::string_view::npos; at = words.find(key, at + 1)) {
    const std::string_view rest = words.substr(at + key.size());
    const char before = at > 0 ? words[at - 1] : ' ', after = rest.empty() ? ' ' : rest.front();
    if (key.empty() || is_of_word(before) || is_of_word(after)) continue;
    const Mention found = {at, before == after && std::string_view("'\"`").find(before) != std::string_view::npos,
                           element_in(rest)};
    if (found.is_before(best)) best = found;
  }
  return best;
}

}  // namespace onebit
