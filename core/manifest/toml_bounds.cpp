// SPDX-License-Identifier: Apache-2.0
// A scanner that knows just enough TOML to count brackets outside of strings and comments.
#include "manifest/toml_bounds.hpp"

#include "onebit/error.hpp"
#include "onebit/manifest.hpp"

namespace onebit {
namespace {

constexpr size_t widest_line = 2000;
constexpr int deepest = 16;

class Scanner {
 public:
  Scanner(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  // Where headings begin.
  std::vector<size_t> run() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#')
        skip_comment();
      else if (c == '"' || c == '\'')
        skip_string(c);
      else
        count(c);
    }
    return headings_;
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    const Location where = {name_, line_, static_cast<int64_t>(at_ - line_start_) + 1};
    throw Error(Code::invalid_argument, where.text() + ": " + reason);
  }

  // toml11 3.7 reads memory that it has freed when a literal string is not UTF-8.
  void check_character() {
    const size_t size = utf8_size(text_.substr(at_));
    if (size == 0) refuse("not valid TOML: the text must be UTF-8");
    checked_ = at_ + size;
  }
  void advance() {
    if (at_ >= checked_) check_character();
    if (text_[at_] == '\n') {
      ++line_;
      line_start_ = at_ + 1;
    } else if (at_ - line_start_ >= widest_line) {
      refuse("a line of a manifest has at most " + std::to_string(widest_line) + " characters");
    }
    ++at_;
  }
  void skip_comment() {
    while (at_ < text_.size() && text_[at_] != '\n') advance();
  }
  void skip_string(char quote) {
    const std::string three(3, quote);
    const bool multiline = text_.compare(at_, 3, three) == 0;
    for (int i = 0; i < (multiline ? 3 : 1); ++i) advance();
    while (at_ < text_.size()) {
      if (multiline ? text_.compare(at_, 3, three) == 0 : (text_[at_] == quote || text_[at_] == '\n')) break;
      if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size()) advance();
      advance();
    }
    for (int i = 0; i < (multiline ? 3 : 1) && at_ < text_.size(); ++i) advance();
  }
  // Outside of arrays a line that begins with a bracket is a heading.
  bool at_heading() const {
    const std::string_view before = text_.substr(line_start_, at_ - line_start_);
    return depth_ == 0 && text_[at_] == '[' && before.find_first_not_of(line_ == 1 ? "\xEF\xBB\xBF \t" : " \t") == before.npos;
  }
  void count(char c) {
    if (at_heading()) headings_.push_back(line_start_);
    if (c == '[' || c == '{') ++depth_;
    if (depth_ > deepest) refuse("arrays and tables are nested too deeply");
    if ((c == ']' || c == '}') && depth_ > 0) --depth_;
    advance();
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0, checked_ = 0, line_start_ = 0;
  int64_t line_ = 1;
  int depth_ = 0;
  std::vector<size_t> headings_;
};

}  // namespace

size_t utf8_size(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t size = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool no_character = (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF4 && byte(1) > 0x8F);
  return overlong || no_character ? 0 : size;
}

std::vector<size_t> check_toml_bounds(std::string_view text, const std::string& name) {
  if (text.size() > most_manifest_bytes)
    throw Error(Code::invalid_argument,
                name + ": a manifest has at most 1 MiB, found " + std::to_string(text.size()) + " bytes");
  return Scanner(text, name).run();
}

}  // namespace onebit
