// SPDX-License-Identifier: Apache-2.0
// Plain text as samples: windows of symbols, characters or words, each of which is to foretell the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data_sets/data_set.hpp"

namespace onebit::host {

// The characters' symbols, fixed so that a model's tensors are known without its data: printable ASCII, newline, tab, and one
// for every other byte.
inline constexpr int64_t kSymbols = 98;
uint16_t symbol_of(char byte);
std::vector<uint16_t> symbols_of(std::string_view text);

struct TextUnit {
  const char* name;
  int64_t window;  // of them, in a sample
};
inline constexpr int64_t kWindow = 64, kWordWindow = 32;
inline constexpr int64_t kTestWindows = 1000;  // at most: enough for a loss within a few thousandths, and quickly done
inline constexpr size_t kTestPart = 10;        // of a text one of so many parts is to test with
inline constexpr TextUnit kCharacters = {"characters", kWindow}, kWords = {"words", kWordWindow};

// Windows follow one another without overlap. The numbers of windows to train with are shuffled once for all, so that a part of
// them (train.samples) is from all of the text; each epoch cuts the text at another place.
class TextSamples final : public Samples {
 public:
  enum class Use { train, test };
  // Throws Error(invalid_argument), with `name`, for a text that has not one window. most: windows; when there are more, they
  // are spread evenly over the text. 0: all. early: by symbol, what stands for it in the first half of the epochs; empty:
  // itself.
  TextSamples(std::vector<uint16_t> symbols, Use use, const TextUnit& unit, const std::string& name, int64_t most = 0,
              std::vector<uint16_t> early = {});
  int64_t count() const override { return static_cast<int64_t>(begins_.size()); }
  int64_t answers() const override { return window_; }
  std::unique_ptr<Feed> feed() const override;

  // The symbol at the beginning of a window, and all that follow; good for answers() + 1 of them, at any offset below slack().
  const uint16_t* window(int64_t sample) const { return symbols_.data() + begins_[static_cast<size_t>(sample)]; }
  int64_t slack() const { return slack_; }
  const std::vector<uint16_t>& early() const { return early_; }

 private:
  std::vector<uint16_t> symbols_, early_;
  std::vector<int64_t> begins_;
  int64_t window_, slack_;  // slack 1: the windows stay where they are
};

// The text of a folder as Debian's package `fortunes` fills it: its regular files whose names have no suffix, in the order of
// their names. Throws Error: absent, or nothing that can be read.
std::string read_fortunes(const std::filesystem::path& folder);

// The last tenth of the text is to test with.
DataSet text_data(const std::string& text, const std::string& name);
// The same, but capital letters come as small ones in the first half of the epochs: classes that first occur late.
DataSet late_text_data(const std::string& text, const std::string& name);

}  // namespace onebit::host
