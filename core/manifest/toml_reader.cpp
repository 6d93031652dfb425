// SPDX-License-Identifier: Apache-2.0
// Reading TOML with toml11, and telling its errors in one line of our own form.
#include "manifest/toml_reader.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <toml.hpp>

#include "manifest/refuse.hpp"
#include "manifest/toml_bounds.hpp"

namespace onebit {
namespace {

Location location_of(const toml::value& value, const std::string& name) {
  const toml::source_location at = value.location();
  return {name, static_cast<int64_t>(at.line()), static_cast<int64_t>(at.column())};
}

// toml11 keeps no location of keys: the key is the last text before its value that reads like it.
Location key_location(const toml::value& value, const std::string& key, const std::string& name) {
  Location where = location_of(value, name);
  const std::string line = value.location().line_str();
  const size_t end = static_cast<size_t>(std::max<int64_t>(where.column - 1, 0));
  const size_t found = end == 0 ? std::string::npos : line.rfind(key, end - 1);
  if (found != std::string::npos) where.column = static_cast<int64_t>(found) + 1;
  return where;
}

// toml11 clamps numbers that do not fit, silently; a number at the very end of its type was one of those.
Value number_of(const toml::value& value, const Location& where) {
  if (value.is_integer()) {
    const int64_t number = value.as_integer();
    if (number == std::numeric_limits<int64_t>::max() || number == std::numeric_limits<int64_t>::min())
      refuse(where, "expected a number that fits 64 bits");
    return number;
  }
  const double number = value.as_floating();
  if (std::abs(number) == std::numeric_limits<double>::max()) refuse(where, "expected a number that fits a double");
  return number;
}

Value array_of(const toml::value& value, const Location& where) {
  std::vector<double> numbers;
  std::vector<std::string> strings;
  for (const toml::value& element : value.as_array()) {
    if (element.is_string())
      strings.push_back(element.as_string().str);
    else if (element.is_integer() || element.is_floating())
      std::visit(
          [&](const auto& v) {
            if constexpr (std::is_arithmetic_v<std::decay_t<decltype(v)>>) numbers.push_back(static_cast<double>(v));
          },
          number_of(element, where));
    else
      refuse(where, "an array holds numbers or strings");
  }
  if (!strings.empty() && !numbers.empty()) refuse(where, "an array holds either numbers or strings, not both");
  if (!strings.empty()) return strings;
  return numbers;
}

Value value_of(const toml::value& value, const Location& where) {
  switch (value.type()) {
    case toml::value_t::boolean:
      return value.as_boolean();
    case toml::value_t::integer:
    case toml::value_t::floating:
      return number_of(value, where);
    case toml::value_t::string:
      return value.as_string().str;
    case toml::value_t::array:
      return array_of(value, where);
    case toml::value_t::table:
      refuse(where, "expected a value, found a table; tables are not nested, but for [[optimizer.group]] and [[plugins.pin]]");
    default:
      refuse(where, "expected a boolean, a number, a string or an array, found a date or time");
  }
}

Setting setting_of(const toml::value& value, const std::string& key, const std::string& name) {
  const Location where = location_of(value, name);
  Setting setting = {value_of(value, where), where, key_location(value, key, name)};
  if (value.is_array())
    for (const toml::value& element : value.as_array()) setting.elements.push_back(location_of(element, name));
  return setting;
}

bool is_array_of_tables(const toml::value& value) {
  if (!value.is_array() || value.as_array().empty()) return false;
  return std::all_of(value.as_array().begin(), value.as_array().end(), [](const toml::value& v) { return v.is_table(); });
}

std::vector<SettingTable> tables_of(const toml::value& array, const std::string& name) {
  std::vector<SettingTable> tables;
  for (const toml::value& element : array.as_array()) {
    tables.push_back({location_of(element, name), {}});
    for (const auto& [key, value] : element.as_table()) tables.back().settings.emplace(key, setting_of(value, key, name));
  }
  return tables;
}

TomlTable table_of(const toml::value& value, const std::string& key, const std::string& name) {
  TomlTable table{location_of(value, name), {}, {}};
  if (is_array_of_tables(value))
    refuse(table.where, "expected the table [" + key + "] once, found an array of tables [[" + key + "]]");
  if (!value.is_table())
    refuse(key_location(value, key, name),
           "'" + key + "' stands outside of a table; a setting belongs under a heading such as [optimizer]");
  for (const auto& [inner, setting] : value.as_table()) {
    if (is_array_of_tables(setting))
      table.arrays.emplace(inner, tables_of(setting, name));
    else
      table.settings.emplace(inner, setting_of(setting, inner, name));
  }
  return table;
}

// The column under which toml11 drew its caret below the excerpt of this line, and what it wrote beside it.
struct Caret {
  int64_t column = 0;
  std::string remark;
};
Caret caret_of(const std::string& message, int64_t line) {
  std::istringstream lines(message);
  Caret caret;
  const std::string number = " " + std::to_string(line) + " | ";
  for (std::string excerpt, drawn; std::getline(lines, excerpt);) {
    if (excerpt.find_first_not_of(' ') == std::string::npos) continue;
    const size_t start = excerpt.find(number.substr(1));
    if (start == std::string::npos || excerpt.find_first_not_of(' ') != start || !std::getline(lines, drawn)) continue;
    const size_t mark = drawn.find_first_of("^~"), text = start + number.size() - 1;
    if (mark == std::string::npos || mark < text) continue;
    caret.column = static_cast<int64_t>(mark - text) + 1;
    const size_t remark = drawn.find_first_not_of("^~- ", mark);
    caret.remark = remark == std::string::npos ? "" : drawn.substr(remark);
  }
  return caret;
}

std::string without_stop(std::string text) {
  while (!text.empty() && text.back() == '.') text.pop_back();
  return text;
}

// "[error] toml::parse_key: an invalid key appeared." -> "an invalid key appeared"
std::string headline(const std::string& message) {
  std::string text = message.substr(0, message.find('\n'));
  if (text.rfind("[error] ", 0) == 0) text.erase(0, 8);
  if (text.rfind("toml::", 0) == 0 && text.find(": ") != std::string::npos) text.erase(0, text.find(": ") + 2);
  if (text.rfind("bad format: ", 0) == 0) text.erase(0, 12);
  return without_stop(text);
}

std::string line_of(std::string_view text, int64_t line) {
  for (int64_t i = 1; i < line && !text.empty(); ++i) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  return std::string(text.substr(0, text.find_first_of("\r\n")));
}

// The reason in few words: toml11's headline and what it wrote beside its caret. The most common slip has words of its own.
std::string reason_of(const toml::exception& e, const Caret& caret, const std::string& line) {
  const std::string title = headline(e.what());
  const size_t at = static_cast<size_t>(std::max<int64_t>(caret.column - 1, 0));
  const bool at_word = at < line.size() && std::isalpha(static_cast<unsigned char>(line[at]));
  if (at_word && (title.empty() || title == "unknown value appeared")) return "expected a value; text is written in quotes";
  if (title.empty() || caret.remark.empty() || caret.remark == "here") return title.empty() ? caret.remark : title;
  return title + " (" + without_stop(caret.remark) + ")";
}

[[noreturn]] void syntax_error(const toml::exception& e, std::string_view text, const std::string& name) {
  const toml::source_location& at = e.location();
  const Caret caret = caret_of(e.what(), at.line());
  const Location where = {name, static_cast<int64_t>(at.line()),
                          caret.column ? caret.column : static_cast<int64_t>(at.column())};
  const std::string line = line_of(text, where.line);
  const std::string found = line.empty() ? "" : ", in `" + line + "`";
  refuse(where, "not valid TOML: " + reason_of(e, caret, line) + found);
}

}  // namespace

TomlDocument read_toml(std::string_view text, const std::string& name) {
  check_toml_bounds(text, name);
  TomlDocument document;
  try {
    std::istringstream in{std::string(text)};
    const toml::value root = toml::parse(in, name);
    for (const auto& [key, value] : root.as_table()) document.emplace(key, table_of(value, key, name));
  } catch (const toml::exception& e) {
    syntax_error(e, text, name);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    refuse({name, 1, 1}, "not valid TOML: " + std::string(e.what()));
  }
  return document;
}

std::optional<Value> read_value(std::string_view text) {
  try {
    const TomlDocument document = read_toml("[t]\nv = " + std::string(text) + "\n", "value");
    if (document.size() != 1) return std::nullopt;
    const TomlTable& table = document.begin()->second;
    if (table.settings.size() != 1 || !table.arrays.empty()) return std::nullopt;
    return table.settings.begin()->second.value;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace onebit
