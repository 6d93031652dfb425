// SPDX-License-Identifier: Apache-2.0
// Faults: where they are, and the reason in few words.
#include "manifest/toml_faults.hpp"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "manifest/refuse.hpp"

namespace onebit {

#if TOML11_VERSION_MAJOR < 4
namespace toml11 {

Fault fault_of(const toml::exception& e) {
  const std::string message = e.what();
  Fault fault = {place_of(e.location()), message.substr(0, message.find('\n')), ""};
  std::istringstream lines(message);
  const std::string number = std::to_string(fault.place.line) + " | ";
  for (std::string excerpt, drawn; std::getline(lines, excerpt);) {
    const size_t start = excerpt.find_first_not_of(' ');
    if (start == std::string::npos || excerpt.compare(start, number.size(), number) != 0 || !std::getline(lines, drawn))
      continue;
    const size_t mark = drawn.find_first_of("^~"), text = start + number.size();
    if (mark == std::string::npos || mark < text) continue;
    fault.place.column = static_cast<int64_t>(mark - text) + 1;
    const size_t remark = drawn.find_first_not_of("^~- ", mark);
    fault.remark = remark == std::string::npos ? "" : drawn.substr(remark);
  }
  return fault;
}

}  // namespace toml11
#endif

namespace {

std::string without_stop(std::string text) {
  while (!text.empty() && (text.back() == '.' || text.back() == '\n')) text.pop_back();
  return text;
}

// "[error] toml::parse_key: an invalid key appeared." -> "an invalid key appeared"
std::string headline(std::string text) {
  if (text.rfind("[error] ", 0) == 0) text.erase(0, 8);
  if (text.rfind("toml::", 0) == 0 && text.find(": ") != std::string::npos) text.erase(0, text.find(": ") + 2);
  if (text.rfind("bad format: ", 0) == 0) text.erase(0, 12);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return without_stop(text);
}

// The reason in few words: toml11's headline and what it wrote beside its caret. The most common slip has words of its own.
std::string reason_of(const toml11::Fault& fault, std::string_view line) {
  const std::string title = headline(fault.title), remark = without_stop(fault.remark);
  const size_t at = static_cast<size_t>(std::max<int64_t>(fault.place.column - 1, 0));
  const bool at_word = at < line.size() && std::isalpha(static_cast<unsigned char>(line[at]));
  const bool no_value = title.empty() || title == "unknown value appeared" || title.rfind("invalid boolean", 0) == 0;
  if (at_word && no_value) return "expected a value; text is written in quotes";
  if (title.empty() || remark.empty() || remark == "here") return title.empty() ? remark : title;
  return title + " (" + remark + ")";
}

}  // namespace

void refuse_fault(const toml::exception& e, const TomlText& source) {
  const toml11::Fault fault = toml11::fault_of(e);
  const std::string_view line = source.line(fault.place.line);
  const std::string found = line.empty() ? "" : ", in `" + std::string(line) + "`";
  refuse(source.where(fault.place.line, fault.place.column), "not valid TOML: " + reason_of(fault, line) + found);
}

}  // namespace onebit
