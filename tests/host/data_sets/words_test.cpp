// SPDX-License-Identifier: Apache-2.0
// Words as symbols: what a word is, which are known, and how often each is met.
#include "data_sets/words.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data_sets/data_sets.hpp"
#include "data_sets/text.hpp"

using namespace onebit::host;  // NOLINT(google-build-using-namespace): the room under test

TEST_CASE("words: runs of letters, digits and apostrophes, in lower case, and other visible characters by themselves") {
  CHECK(words_of("Don't  PANIC,\n\"it's 42\"\tna\xc3\xafve...") ==
        std::vector<std::string>{"don't", "panic", ",", "\"", "it's", "42", "\"", "na\xc3\xafve", ".", ".", "."});
  CHECK(words_of(" \n").empty());
}

TEST_CASE("a vocabulary has the words that come at least twice, the most frequent first") {
  const std::vector<std::string> text = words_of("b a b a c c c once");
  const Vocabulary vocabulary(text);
  CHECK(vocabulary.symbols_of(words_of("c b a once never")) == std::vector<uint16_t>{1, 2, 3, kUnknownWord, kUnknownWord});
}

TEST_CASE("a vocabulary ends where the symbols do") {
  std::vector<std::string> text;
  for (int i = 0; i < 20000; ++i) text.insert(text.end(), 2, std::to_string(i));
  const std::vector<uint16_t> symbols = Vocabulary(text).symbols_of({"0", "16382", "16383"});
  CHECK(symbols == std::vector<uint16_t>{1, kVocabulary - 1, kUnknownWord});
}

TEST_CASE("words to test with are the last tenth, and known by those to train with") {
  std::string text;
  for (int i = 0; i < 900; ++i) text += i % 450 == 0 ? "seldom " : "often ";
  for (int i = 0; i < 100; ++i) text += i % 2 == 0 ? "seldom " : "new ";
  const DataSet data = word_data(text, "text");
  CHECK(data.test->answers() == kWordWindow);
  CHECK(data.train->count() == 27);  // a window's length is kept free, so that they can be cut elsewhere
  REQUIRE(data.test->count() == 3);
  const auto feed = data.test->feed();
  const Batch batch = feed->take({0});
  CHECK(batch.symbols[0] == 2);
  CHECK(batch.targets[0] == kUnknownWord);
  CHECK(data.bands.names[data.bands.of_class[1]] == "501-");
  CHECK(data.bands.names[data.bands.of_class[2]] == "2-5");
  CHECK(data.bands.names[data.bands.of_class[kUnknownWord]] == "unknown");
}

TEST_CASE("the words of the installed fortunes fill the vocabulary nearly") {
  if (!std::filesystem::exists("/usr/share/games/fortunes")) {
    MESSAGE("SKIPPED: fortunes are not installed (apt-get install fortunes)");
    return;
  }
  const DataSet data = read_data("fortunes", SampleKind::words, "");
  CHECK(data.train->count() > 15000);
  CHECK(data.test->count() == 1000);
}
