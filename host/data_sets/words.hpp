// SPDX-License-Identifier: Apache-2.0
// Text as words: most of them rare, as in every text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data_sets/data_set.hpp"

namespace onebit::host {

// Symbols of words, so many that a model's tensors are known without its data. Where a text has fewer words, some never occur.
inline constexpr int64_t kVocabulary = 16384;
inline constexpr uint16_t kUnknownWord = 0;

// In lower case: runs of letters, digits, apostrophes and bytes beyond ASCII; and each other visible character by itself.
std::vector<std::string> words_of(std::string_view text);

// The words that a text has at least twice, the most frequent first, and of equals the one that is met first.
class Vocabulary {
 public:
  explicit Vocabulary(const std::vector<std::string>& text);
  std::vector<uint16_t> symbols_of(const std::vector<std::string>& text) const;

 private:
  std::unordered_map<std::string, uint16_t> symbols_;
};

// The last tenth of the words is to test with; the vocabulary is that of the others.
DataSet word_data(const std::string& text, const std::string& name);

}  // namespace onebit::host
