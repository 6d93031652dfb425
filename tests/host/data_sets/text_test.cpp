// SPDX-License-Identifier: Apache-2.0
// Text as samples: which files, which symbols, which windows, and text that is not there or too short.
#include "data_sets/text.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "data_sets/data_sets.hpp"
#include "onebit/error.hpp"
#include "support/scratch_folder.hpp"

using namespace onebit::host;  // NOLINT(google-build-using-namespace): the room under test

namespace {

// Text in which a character tells its place, as long as there are fewer than 90.
std::string numbered(int64_t size) {
  std::string text;
  for (int64_t i = 0; i < size; ++i) text += static_cast<char>('!' + i % 90);
  return text;
}

std::vector<int64_t> all(const Samples& samples) {
  std::vector<int64_t> numbers(static_cast<size_t>(samples.count()));
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  return numbers;
}

}  // namespace

TEST_CASE("symbols: printable ASCII, newline, tab, and one for the rest") {
  std::set<uint16_t> symbols;
  for (int c = ' '; c <= '~'; ++c) symbols.insert(symbol_of(static_cast<char>(c)));
  CHECK(symbols.size() == 95);
  symbols.insert(symbol_of('\n'));
  symbols.insert(symbol_of('\t'));
  CHECK(symbols.size() == 97);
  for (const int c : {0, 7, 13, 127, 128, 0xc3, 0xff}) symbols.insert(symbol_of(static_cast<char>(c)));
  CHECK(symbols.size() == kSymbols);
  CHECK(*symbols.rbegin() == kSymbols - 1);
}

TEST_CASE("a sample is a window, and its targets are what follows") {
  const TextSamples samples(symbols_of(numbered(64 * 4 + 1)), TextSamples::Use::test, kCharacters, "text");
  REQUIRE(samples.count() == 4);
  const auto feed = samples.feed();
  const Batch batch = feed->take({2, 0});
  CHECK(batch.count == 2);
  CHECK(batch.answers == 64);
  CHECK(batch.pixels == nullptr);
  for (int64_t i = 0; i < 64; ++i) {
    CHECK(batch.symbols[i] == symbol_of(static_cast<char>('!' + (128 + i) % 90)));
    CHECK(batch.targets[i] == symbol_of(static_cast<char>('!' + (129 + i) % 90)));
    CHECK(batch.symbols[64 + i] == symbol_of(static_cast<char>('!' + i)));
    CHECK(batch.targets[64 + i] == symbol_of(static_cast<char>('!' + i + 1)));
  }
}

TEST_CASE("windows to train with do not overlap in an epoch, and each epoch cuts elsewhere") {
  const std::string text(64 * 41, 'x');
  const TextSamples samples(symbols_of(text), TextSamples::Use::train, kCharacters, "text");
  CHECK(samples.count() == 40);
  std::set<const uint16_t*> begins;
  for (const int64_t i : all(samples)) begins.insert(samples.window(i));
  CHECK(begins.size() == 40);
  for (auto it = begins.begin(); std::next(it) != begins.end(); ++it) CHECK(*std::next(it) - *it == 64);
  CHECK(!std::is_sorted(all(samples).begin(), all(samples).end(),
                        [&](int64_t a, int64_t b) { return samples.window(a) < samples.window(b); }));
  const TextSamples small(symbols_of(numbered(64 * 3)), TextSamples::Use::train, kCharacters, "text");
  const auto feed = small.feed(), same = small.feed();
  std::set<int64_t> firsts;
  for (uint64_t epoch = 0; epoch < 20; ++epoch) {
    feed->begin_epoch(onebit::host::Random(1, epoch), false);
    same->begin_epoch(onebit::host::Random(1, epoch), false);
    firsts.insert(feed->take({0}).symbols[0]);
    CHECK(feed->take({1}).targets[63] == same->take({1}).targets[63]);
  }
  CHECK(firsts.size() > 10);
}

TEST_CASE("windows to test with are spread evenly, and stay where they are") {
  const std::string text(64 * 100 + 1, 'x');
  const TextSamples samples(symbols_of(text), TextSamples::Use::test, kCharacters, "text", 10);
  REQUIRE(samples.count() == 10);
  for (const int64_t i : all(samples)) CHECK(samples.window(i) - samples.window(0) == 640 * i);
  CHECK(samples.slack() == 1);
  CHECK(TextSamples(symbols_of(text), TextSamples::Use::test, kCharacters, "text", 1000).count() == 100);
}

TEST_CASE("the last tenth of a text is to test with") {
  const DataSet data = text_data(std::string(64 * 18, 'a') + std::string(64 * 2, 'b'), "text");
  CHECK(!data.labelled);
  REQUIRE(data.test->count() == 1);
  const auto train = data.train->feed(), test = data.test->feed();
  CHECK(test->take({0}).symbols[0] == symbol_of('b'));
  train->begin_epoch(onebit::host::Random(1), true);
  const Batch learnt = train->take(all(*data.train));
  CHECK(std::all_of(learnt.targets, learnt.targets + learnt.count * 64, [](int64_t s) { return s == symbol_of('a'); }));
}

TEST_CASE("late text: capital letters come as small ones in the first half of the epochs") {
  const DataSet data = late_text_data(std::string(64 * 20, 'A'), "text");
  const auto train = data.train->feed(), test = data.test->feed();
  for (const bool early : {true, false}) {
    train->begin_epoch(onebit::host::Random(1), early);
    const Batch batch = train->take({0, 1});
    const uint16_t expected = symbol_of(early ? 'a' : 'A');
    CHECK(std::count(batch.symbols, batch.symbols + 128, expected) == 128);
    CHECK(std::count(batch.targets, batch.targets + 128, expected) == 128);
  }
  CHECK(test->take({0}).targets[0] == symbol_of('A'));
  CHECK(data.bands.names == std::vector<std::string>{"others", "late"});
  CHECK(data.bands.of_class[symbol_of('Z')] == 1);
  CHECK(data.bands.of_class[symbol_of('z')] == 0);
}

TEST_CASE("a text that is too short is refused") {
  CHECK_NOTHROW(text_data(std::string(650, 'a'), "text"));
  CHECK_THROWS_WITH_AS(
      text_data(std::string(640, 'a'), "text"),
      "text: the part to test with has 64 characters, expected at least 65; one tenth of a text is to test with",
      onebit::Error);
}

TEST_CASE("fortunes: the files without a suffix, in the order of their names, and no links") {
  const ScratchFolder folder;
  folder.file("b", "second\n");
  folder.file("a", "first\n");
  folder.file("a.dat", "no text");
  std::filesystem::create_symlink("b", folder / "c");
  std::filesystem::create_directory(folder / "off");
  CHECK(read_fortunes(folder.path()) == "first\nsecond\n");
}

TEST_CASE("fortunes that are not there say how to get them") {
  const ScratchFolder folder;
  folder.file("a.dat", "no text");
  CHECK_THROWS_WITH_AS(read_fortunes(folder.path()), doctest::Contains("apt-get install fortunes"), onebit::Error);
  CHECK_THROWS_WITH_AS(read_data("fortunes", SampleKind::characters, folder / "nowhere"),
                       doctest::Contains("train.data_folder"), onebit::Error);
}

TEST_CASE("the installed fortunes are read") {
  if (!std::filesystem::exists("/usr/share/games/fortunes")) {
    MESSAGE("SKIPPED: fortunes are not installed (apt-get install fortunes)");
    return;
  }
  const DataSet data = read_data("fortunes", SampleKind::characters, "");
  CHECK(data.train->count() > 30000);
  CHECK(data.test->count() == 1000);
}
