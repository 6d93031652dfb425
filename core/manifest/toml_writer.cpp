// SPDX-License-Identifier: Apache-2.0
// Values as TOML: the shortest text that reads back as the same value, so that it can also be hashed. What is long goes over
// several lines, for the lines of a manifest are bounded (toml_bounds.hpp).
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "manifest/toml_bounds.hpp"
#include "manifest/toml_reader.hpp"

namespace onebit {
namespace {

constexpr size_t longest_piece = 1000;  // bytes of a string in one line
constexpr size_t widest_array = 110;    // bytes of elements in one line

std::string write_real(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string escaped(std::string_view character) {
  static constexpr std::string_view short_forms = "\b\t\n\f\r\"\\", letters = "btnfr\"\\";
  const auto c = static_cast<unsigned char>(character.front());
  if (const size_t found = short_forms.find(character); found != std::string_view::npos) return {'\\', letters[found]};
  return c < 0x20 || c == 0x7f ? fmt::format("\\u{:04x}", static_cast<unsigned>(c)) : std::string(character);
}

// Between quotes; of a long one in pieces, each in a line.
std::vector<std::string> pieces_of(std::string_view value) {
  std::vector<std::string> pieces(1);
  while (!value.empty()) {
    const std::string_view character = value.substr(0, std::max<size_t>(1, utf8_size(value)));
    if (pieces.back().size() >= longest_piece) pieces.emplace_back();
    // a line's first blanks are not part of a string that goes over lines
    pieces.back() += pieces.back().empty() && pieces.size() > 1 && character == " " ? "\\u0020" : escaped(character);
    value.remove_prefix(character.size());
  }
  return pieces;
}

std::string write_string(std::string_view value) {
  std::string text;
  const std::vector<std::string> pieces = pieces_of(value);
  for (const std::string& piece : pieces) text += (text.empty() ? "" : "\\\n") + piece;
  const char* const quotes = pieces.size() > 1 ? "\"\"\"" : "\"";
  return quotes + text + quotes;
}
std::string describe_string(std::string_view value) {
  std::string text;
  for (const std::string& piece : pieces_of(value)) text += piece;
  return '"' + text + '"';
}

template <class T, class F>
std::vector<std::string> written(const std::vector<T>& values, F&& write) {
  std::vector<std::string> texts;
  for (const T& value : values) texts.push_back(write(value));
  return texts;
}

std::string in_one_line(const std::vector<std::string>& elements) {
  std::string text = "[";
  for (size_t i = 0; i < elements.size(); ++i) text += (i ? ", " : "") + elements[i];
  return text + "]";
}

struct Writer {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return write_real(value); }
  std::string operator()(const std::string& value) const { return write_string(value); }
  std::string operator()(const std::vector<double>& values) const { return write_array(written(values, write_real)); }
  std::string operator()(const std::vector<std::string>& values) const { return write_array(written(values, write_string)); }
};

struct Describer {
  std::string operator()(bool value) const { return value ? "the boolean true" : "the boolean false"; }
  std::string operator()(int64_t value) const { return "the integer " + Writer()(value); }
  std::string operator()(double value) const { return "the number " + Writer()(value); }
  std::string operator()(const std::string& value) const { return "the string " + describe_string(value); }
  std::string operator()(const std::vector<double>& values) const { return array(written(values, write_real), "numbers"); }
  std::string operator()(const std::vector<std::string>& values) const {
    return array(written(values, describe_string), "strings");
  }

  static std::string array(const std::vector<std::string>& elements, const char* what) {
    if (elements.size() > 8) return fmt::format("an array of {} {}", elements.size(), what);
    return "the array " + in_one_line(elements);
  }
};

}  // namespace

std::string write_array(const std::vector<std::string>& elements) {
  const std::string line = in_one_line(elements);
  if (line.size() <= widest_array && line.find('\n') == std::string::npos) return line;
  std::string text = "[";
  size_t begin = 0;  // of the line that is being written
  for (const std::string& element : elements) {
    const bool fits = text.size() - begin + element.size() + 2 <= widest_array && begin > 0;
    if (!fits) begin = text.size() + 1;
    text += (fits ? " " : "\n  ") + element + ",";
  }
  return text + "\n]";
}

std::string write_comment(std::string_view words) {
  std::string text = "# ";
  size_t begin = 0;  // of the line that is being written
  while (!words.empty()) {
    const size_t size = utf8_size(words);
    const auto c = static_cast<unsigned char>(words.front());
    if (text.size() - begin > longest_piece) {
      begin = text.size() + 1;
      text += "\n# ";
    }
    text += size == 0 ? "?" : c < 0x20 || c == 0x7f ? " " : words.substr(0, size);
    words.remove_prefix(std::max<size_t>(1, size));
  }
  return text + '\n';
}

std::string write_value(const Value& value) { return std::visit(Writer(), value); }
std::string describe_value(const Value& value) { return std::visit(Describer(), value); }

}  // namespace onebit
