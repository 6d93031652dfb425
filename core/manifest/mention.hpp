// SPDX-License-Identifier: Apache-2.0
// Keys of options in sentences: what a component says of its options tells where to look for them.
#pragma once

#include <cstddef>
#include <string_view>

namespace onebit {

struct Mention {
  static constexpr size_t none = static_cast<size_t>(-1);
  size_t at = none;        // where in the words
  bool in_quotes = false;  // or backticks
  size_t element = none;   // of an array: i of `key[i]` and `key.i`
  // Whether it is the better one to go by.
  bool is_before(const Mention& other) const {
    if (at == none || other.at == none) return at != none;
    return in_quotes != other.in_quotes ? in_quotes : at < other.at;
  }
};

// The best mention of a key: in quotes, or else as a word of its own, which no letter, digit or '_' adjoins.
Mention mention_of(std::string_view key, std::string_view words);

}  // namespace onebit
