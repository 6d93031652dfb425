// SPDX-License-Identifier: Apache-2.0
// Sections, each a heading and what is below it, and their order.
#include "manifest/toml_text.hpp"

#include <algorithm>

#include "manifest/toml_bounds.hpp"

namespace onebit {
namespace {

constexpr std::string_view around = " \t\r\"'", byte_order_mark = "\xEF\xBB\xBF";

struct Section {
  std::string_view text;
  std::string_view table;  // "optimizer" of [optimizer], [optimizer.x], [[optimizer]] and [[optimizer.group]]
  bool plain = false;      // [optimizer]
  bool array_in = false;   // [[optimizer.group]]
  int64_t first_line = 1;
};

// Without blanks and quotes.
std::string_view bare(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(around), text.size()));
  return text.substr(0, text.find_last_not_of(around) + 1);
}

Section section_of(std::string_view text, int64_t first_line) {
  std::string_view heading = text.substr(0, text.find('\n'));
  heading.remove_prefix(std::min(heading.find('[') + 1, heading.size()));
  const bool array = !heading.empty() && heading.front() == '[';
  if (array) heading.remove_prefix(1);
  heading = heading.substr(0, heading.find(']'));
  const size_t dot = heading.find('.');
  const bool inner = dot != std::string_view::npos;
  return {text, bare(heading.substr(0, dot)), !array && !inner, array && inner, first_line};
}

// What is above the first heading comes first, and is no section.
std::vector<Section> sections_of(std::string_view text, const std::vector<size_t>& headings) {
  std::vector<Section> sections;
  int64_t line = 1;
  size_t counted = 0;
  for (size_t i = 0; i < headings.size(); ++i) {
    const size_t begin = headings[i], end = i + 1 < headings.size() ? headings[i + 1] : text.size();
    line += std::count(text.data() + counted, text.data() + begin, '\n');
    counted = begin;
    sections.push_back(section_of(text.substr(begin, end - begin), line));
  }
  return sections;
}

// Whether some table stands below an array of tables in it.
bool is_upside_down(const std::vector<Section>& sections) {
  std::vector<std::string_view> seen;
  for (const Section& section : sections) {
    if (section.plain && std::find(seen.begin(), seen.end(), section.table) != seen.end()) return true;
    if (section.array_in && std::find(seen.begin(), seen.end(), section.table) == seen.end()) seen.push_back(section.table);
  }
  return false;
}

}  // namespace

TomlText::TomlText(std::string_view written, const std::string& name) : name_(name) {
  order(written, check_toml_bounds(written, name));
  for (size_t at = text_.find('\n'); at != std::string::npos; at = text_.find('\n', at + 1)) starts_.push_back(at + 1);
}

void TomlText::order(std::string_view written, const std::vector<size_t>& headings) {
  std::vector<Section> sections = sections_of(written, headings);
  if (!is_upside_down(sections)) {
    text_ = written;
    return;
  }
  if (headings.front() == 0 && written.substr(0, byte_order_mark.size()) == byte_order_mark)
    sections.front().text.remove_prefix(byte_order_mark.size());  // it would stand in the middle
  std::stable_partition(sections.begin(), sections.end(), [](const Section& section) { return section.plain; });
  sections.insert(sections.begin(), {written.substr(0, headings.front()), {}, false, false, 1});
  for (const Section& section : sections) {
    text_ += section.text;
    if (!section.text.empty() && section.text.back() != '\n') text_ += '\n';
    const int64_t lines =
        std::count(section.text.begin(), section.text.end(), '\n') + (!section.text.empty() && section.text.back() != '\n');
    for (int64_t i = 0; i < lines; ++i) written_.push_back(section.first_line + i);
  }
}

std::string_view TomlText::line(int64_t number) const {
  if (number < 1 || number > static_cast<int64_t>(starts_.size())) return {};
  const std::string_view rest = std::string_view(text_).substr(starts_[static_cast<size_t>(number - 1)]);
  return rest.substr(0, rest.find_first_of("\r\n"));
}

Location TomlText::where(int64_t line, int64_t column) const {
  const auto index = static_cast<size_t>(line - 1);
  return {name_, index < written_.size() ? written_[index] : line, column};
}

}  // namespace onebit
