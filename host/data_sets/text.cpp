// SPDX-License-Identifier: Apache-2.0
// Text: files to symbols, symbols to windows.
#include "data_sets/text.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kTestWindows = 1000;  // enough for a loss within a few thousandths, and quickly done
constexpr size_t kTestPart = 10;        // one of so many

class TextFeed final : public Feed {
 public:
  explicit TextFeed(const TextSamples& samples) : samples_(samples) {}
  void begin_epoch(Random random) override {
    offset_ = static_cast<int64_t>(random.below(static_cast<uint64_t>(samples_.slack())));
  }
  Batch take(const std::vector<int64_t>& samples) override {
    const auto size = samples.size() * static_cast<size_t>(kWindow);
    inputs_.resize(size);
    targets_.resize(size);
    for (size_t i = 0; i < samples.size(); ++i) {
      const uint8_t* from = samples_.window(samples[i]) + offset_;
      const auto at = static_cast<int64_t>(i) * kWindow;
      std::copy_n(from, kWindow, inputs_.begin() + at);
      std::copy_n(from + 1, kWindow, targets_.begin() + at);
    }
    return {static_cast<int64_t>(samples.size()), kWindow, targets_.data(), nullptr, inputs_.data(), 0, 0};
  }

 private:
  const TextSamples& samples_;
  int64_t offset_ = 0;
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

}  // namespace

uint8_t symbol_of(char byte) {
  constexpr uint8_t printable = '~' - ' ' + 1;
  if (byte >= ' ' && byte <= '~') return static_cast<uint8_t>(byte - ' ');
  if (byte == '\n') return printable;
  return byte == '\t' ? printable + 1 : printable + 2;
}

TextSamples::TextSamples(std::string_view text, Use use, const std::string& name, int64_t most)
    : slack_(use == Use::train ? kWindow : 1) {
  // The last window's last character has a successor, wherever the text is cut.
  const int64_t all = (static_cast<int64_t>(text.size()) - slack_) / kWindow;
  if (all < 1)
    throw Error(Code::invalid_argument, name + ": the part to " + (use == Use::train ? "train" : "test") + " with has " +
                                            std::to_string(text.size()) + " characters, expected at least " +
                                            std::to_string(kWindow + slack_) + "; one tenth of a text is to test with");
  symbols_.resize(text.size());
  std::transform(text.begin(), text.end(), symbols_.begin(), symbol_of);
  const int64_t count = most == 0 ? all : std::min(all, most);
  const std::vector<int64_t> order = shuffled(all, Random(0));
  for (int64_t i = 0; i < count; ++i)
    begins_.push_back((use == Use::train ? order[static_cast<size_t>(i)] : i * all / count) * kWindow);
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

DataSet text_data(const std::string& text, const std::string& name) {
  const std::string_view whole = text;
  const size_t test = whole.size() / kTestPart, train = whole.size() - test;
  return {std::make_unique<TextSamples>(whole.substr(0, train), TextSamples::Use::train, name),
          std::make_unique<TextSamples>(whole.substr(train), TextSamples::Use::test, name, kTestWindows), false};
}

}  // namespace onebit::host
