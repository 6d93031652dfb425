// SPDX-License-Identifier: Apache-2.0
// Words: from a text to symbols.
#include "data_sets/words.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "data_sets/text.hpp"

namespace onebit::host {
namespace {

bool is_of_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\'' || static_cast<unsigned char>(c) >= 0x80;
}

struct Counted {
  std::string word;
  int64_t times = 0;
};

// Each word once, in the order in which they are met.
std::vector<Counted> counted(const std::vector<std::string>& text) {
  std::vector<Counted> all;
  std::unordered_map<std::string, size_t> places;
  for (const std::string& word : text) {
    const auto [place, is_new] = places.emplace(word, all.size());
    if (is_new) all.push_back({word, 0});
    ++all[place->second].times;
  }
  return all;
}

// By how often the text, all of which one may train with, has each word.
Bands bands_of(const std::vector<uint16_t>& text) {
  std::vector<int64_t> times(kVocabulary);
  for (const uint16_t symbol : text) ++times[symbol];
  Bands bands{{"2-5", "6-50", "51-500", "501-", "unknown"}, std::vector<uint8_t>(kVocabulary)};
  for (size_t symbol = 0; symbol < times.size(); ++symbol)
    bands.of_class[symbol] = times[symbol] <= 5 ? 0 : times[symbol] <= 50 ? 1 : times[symbol] <= 500 ? 2 : 3;
  bands.of_class[kUnknownWord] = 4;
  return bands;
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool within = false;
  for (const char c : text) {
    const char small = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool belongs = is_of_word(small);
    if (belongs && within)
      words.back() += small;
    else if (belongs || (small > ' ' && small <= '~'))
      words.emplace_back(1, small);
    within = belongs;
  }
  return words;
}

Vocabulary::Vocabulary(const std::vector<std::string>& text) {
  std::vector<Counted> all = counted(text);
  std::stable_sort(all.begin(), all.end(), [](const Counted& a, const Counted& b) { return a.times > b.times; });
  for (Counted& one : all) {
    if (one.times < 2 || symbols_.size() + 1 == kVocabulary) break;
    symbols_.emplace(std::move(one.word), static_cast<uint16_t>(symbols_.size() + 1));
  }
}

std::vector<uint16_t> Vocabulary::symbols_of(const std::vector<std::string>& text) const {
  std::vector<uint16_t> symbols;
  for (const std::string& word : text) {
    const auto found = symbols_.find(word);
    symbols.push_back(found == symbols_.end() ? kUnknownWord : found->second);
  }
  return symbols;
}

DataSet word_data(const std::string& text, const std::string& name) {
  std::vector<std::string> train = words_of(text);
  const ptrdiff_t tested = static_cast<ptrdiff_t>(train.size() / kTestPart);
  const std::vector<std::string> test(train.end() - tested, train.end());
  train.resize(train.size() - static_cast<size_t>(tested));
  const Vocabulary vocabulary(train);
  std::vector<uint16_t> symbols = vocabulary.symbols_of(train);
  Bands bands = bands_of(symbols);
  return {std::make_unique<TextSamples>(std::move(symbols), TextSamples::Use::train, kWords, name),
          std::make_unique<TextSamples>(vocabulary.symbols_of(test), TextSamples::Use::test, kWords, name, kTestWindows), false,
          std::move(bands)};
}

}  // namespace onebit::host
