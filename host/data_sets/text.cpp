// SPDX-License-Identifier: Apache-2.0
// Text: files to symbols, symbols to windows.
#include "data_sets/text.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <system_error>
#include <utility>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

namespace fs = std::filesystem;

class TextFeed final : public Feed {
 public:
  explicit TextFeed(const TextSamples& samples) : samples_(samples) {}
  void begin_epoch(Random random, bool early) override {
    offset_ = static_cast<int64_t>(random.below(static_cast<uint64_t>(samples_.slack())));
    early_ = early;
  }
  Batch take(const std::vector<int64_t>& samples) override {
    const int64_t window = samples_.answers();
    const auto size = samples.size() * static_cast<size_t>(window);
    inputs_.resize(size);
    targets_.resize(size);
    for (size_t i = 0; i < samples.size(); ++i) {
      const uint16_t* from = samples_.window(samples[i]) + offset_;
      const auto at = static_cast<int64_t>(i) * window;
      std::copy_n(from, window, inputs_.begin() + at);
      std::copy_n(from + 1, window, targets_.begin() + at);
    }
    if (early_ && !samples_.early().empty()) replace();
    return {static_cast<int64_t>(samples.size()), window, targets_.data(), nullptr, inputs_.data(), 0, 0};
  }

 private:
  void replace() {
    for (std::vector<int64_t>* symbols : {&inputs_, &targets_})
      for (int64_t& symbol : *symbols) symbol = samples_.early()[static_cast<size_t>(symbol)];
  }

  const TextSamples& samples_;
  int64_t offset_ = 0;
  bool early_ = false;
  std::vector<int64_t> inputs_, targets_;
};

std::vector<fs::path> text_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->symlink_status(error).type() == fs::file_type::regular && !it->path().has_extension()) files.push_back(it->path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw Error(Code::unavailable, file.string() + ": cannot be read: " + std::strerror(errno), errno);
  return text;
}

DataSet character_data(const std::string& text, const std::string& name, std::vector<uint16_t> early, Bands bands) {
  const std::string_view whole = text;
  const size_t test = whole.size() / kTestPart, train = whole.size() - test;
  return {
      std::make_unique<TextSamples>(symbols_of(whole.substr(0, train)), TextSamples::Use::train, kCharacters, name, 0,
                                    std::move(early)),
      std::make_unique<TextSamples>(symbols_of(whole.substr(train)), TextSamples::Use::test, kCharacters, name, kTestWindows),
      false, std::move(bands)};
}

}  // namespace

uint16_t symbol_of(char byte) {
  constexpr uint16_t printable = '~' - ' ' + 1;
  if (byte >= ' ' && byte <= '~') return static_cast<uint16_t>(byte - ' ');
  if (byte == '\n') return printable;
  return byte == '\t' ? printable + 1 : printable + 2;
}

std::vector<uint16_t> symbols_of(std::string_view text) {
  std::vector<uint16_t> symbols(text.size());
  std::transform(text.begin(), text.end(), symbols.begin(), symbol_of);
  return symbols;
}

TextSamples::TextSamples(std::vector<uint16_t> symbols, Use use, const TextUnit& unit, const std::string& name, int64_t most,
                         std::vector<uint16_t> early)
    : symbols_(std::move(symbols)), early_(std::move(early)), window_(unit.window), slack_(use == Use::train ? window_ : 1) {
  // The last window's last symbol has a successor, wherever the text is cut.
  const int64_t all = (static_cast<int64_t>(symbols_.size()) - slack_) / window_;
  if (all < 1)
    throw Error(Code::invalid_argument, name + ": the part to " + (use == Use::train ? "train" : "test") + " with has " +
                                            std::to_string(symbols_.size()) + " " + unit.name + ", expected at least " +
                                            std::to_string(window_ + slack_) + "; one tenth of a text is to test with");
  const int64_t count = most == 0 ? all : std::min(all, most);
  const std::vector<int64_t> order = shuffled(all, Random(0));
  for (int64_t i = 0; i < count; ++i)
    begins_.push_back((use == Use::train ? order[static_cast<size_t>(i)] : i * all / count) * window_);
}

std::unique_ptr<Feed> TextSamples::feed() const { return std::make_unique<TextFeed>(*this); }

std::string read_fortunes(const fs::path& folder) {
  std::string text;
  for (const fs::path& file : text_files(folder)) text += contents(file);
  if (text.empty())
    throw Error(Code::unavailable,
                "the text of fortunes is not there: no file without a suffix in " + folder.string() +
                    "; install it with `apt-get install fortunes`, or set train.data_folder to a folder with text files");
  return text;
}

DataSet text_data(const std::string& text, const std::string& name) { return character_data(text, name, {}, {}); }

DataSet late_text_data(const std::string& text, const std::string& name) {
  std::vector<uint16_t> early(kSymbols);
  std::iota(early.begin(), early.end(), uint16_t{0});
  Bands bands{{"others", "late"}, std::vector<uint8_t>(kSymbols)};
  for (char letter = 'A'; letter <= 'Z'; ++letter) {
    early[symbol_of(letter)] = symbol_of(static_cast<char>(letter - 'A' + 'a'));
    bands.of_class[symbol_of(letter)] = 1;
  }
  return character_data(text, name, std::move(early), std::move(bands));
}

}  // namespace onebit::host
