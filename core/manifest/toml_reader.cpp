// SPDX-License-Identifier: Apache-2.0
// Reading TOML with toml11: its values to settings with their places.
#include "manifest/toml_reader.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "manifest/refuse.hpp"
#include "manifest/toml11.hpp"
#include "manifest/toml_faults.hpp"
#include "manifest/toml_numbers.hpp"
#include "manifest/toml_text.hpp"
#include "process/float_environment.hpp"

namespace onebit {
namespace {

Location location_of(const toml::value& value, const TomlText& source) {
  const toml11::Place place = toml11::place_of(value.location());
  return source.where(place.line, place.column);
}

// toml11 keeps no location of keys: the key is the last text before its value that reads like it.
Location key_location(const toml11::Place& value, const std::string& key, const TomlText& source) {
  const size_t end = static_cast<size_t>(std::max<int64_t>(value.column - 1, 0));
  const size_t found = end == 0 ? std::string_view::npos : source.line(value.line).rfind(key, end - 1);
  return source.where(value.line, found == std::string_view::npos ? value.column : static_cast<int64_t>(found) + 1);
}

// The value as it was written: without blanks, for it is a number.
std::string_view word_of(const toml11::Place& place, const TomlText& source) {
  const std::string_view line = source.line(place.line);
  const std::string_view rest = line.substr(std::min(static_cast<size_t>(place.column - 1), line.size()));
  return rest.substr(0, rest.find_first_of(" \t,]}#"));
}

Value number_of(const toml::value& value, const TomlText& source) {
  const toml11::Place place = toml11::place_of(value.location());
  if (value.is_integer()) {
    if (const std::optional<int64_t> integer = read_integer(word_of(place, source))) return *integer;
    refuse(source.where(place.line, place.column), "expected a number that fits 64 bits");
  }
  if (const std::optional<double> real = read_real(word_of(place, source))) return *real;
  refuse(source.where(place.line, place.column), "expected a number that fits a double");
}

// Arrays hold doubles.
double element_of(const toml::value& value, const TomlText& source) {
  constexpr int64_t most = int64_t{1} << 53;
  const Value number = number_of(value, source);
  if (const double* real = std::get_if<double>(&number)) return *real;
  const int64_t integer = std::get<int64_t>(number);
  if (integer < -most || integer > most)
    refuse(location_of(value, source), "an integer in an array is at most 2^53, or " + std::to_string(most));
  return static_cast<double>(integer);
}

// An array that holds what no other may, or not all of one kind, is wrong where the first such element is.
void check_kind(const toml::value& element, const toml::value& first, const TomlText& source) {
  const auto is_number = [](const toml::value& v) { return v.is_integer() || v.is_floating(); };
  if (first.is_table() && !element.is_table()) refuse(location_of(element, source), "an array of tables holds nothing else");
  if (first.is_table()) return;
  if (!element.is_string() && !is_number(element)) refuse(location_of(element, source), "an array holds numbers or strings");
  if (element.is_string() != first.is_string())
    refuse(location_of(element, source), "an array holds either numbers or strings, not both");
}

Value array_of(const toml::value& value, const TomlText& source) {
  std::vector<double> numbers;
  std::vector<std::string> strings;
  for (const toml::value& element : value.as_array()) check_kind(element, value.as_array().front(), source);
  for (const toml::value& element : value.as_array()) {
    if (element.is_table()) refuse(location_of(element, source), "an array holds numbers or strings");
    if (element.is_string())
      strings.push_back(toml11::text_of(element));
    else
      numbers.push_back(element_of(element, source));
  }
  if (!strings.empty()) return strings;
  return numbers;
}

Value value_of(const toml::value& value, const TomlText& source) {
  switch (value.type()) {
    case toml::value_t::boolean:
      return value.as_boolean();
    case toml::value_t::integer:
    case toml::value_t::floating:
      return number_of(value, source);
    case toml::value_t::string:
      return toml11::text_of(value);
    case toml::value_t::array:
      return array_of(value, source);
    case toml::value_t::table:
      refuse(location_of(value, source),
             "expected a value, found a table; tables are not nested, but for [[optimizer.group]] and [[plugins.pin]]");
    default:
      refuse(location_of(value, source), "expected a boolean, a number, a string or an array, found a date or time");
  }
}

Setting setting_of(const toml::value& value, const std::string& key, const TomlText& source) {
  const toml11::Place place = toml11::place_of(value.location());
  Setting setting = {value_of(value, source), source.where(place.line, place.column), key_location(place, key, source)};
  if (value.is_array())
    for (const toml::value& element : value.as_array()) setting.elements.push_back(location_of(element, source));
  return setting;
}

bool is_array_of_tables(const toml::value& value) {
  if (!value.is_array() || value.as_array().empty()) return false;
  return std::all_of(value.as_array().begin(), value.as_array().end(), [](const toml::value& v) { return v.is_table(); });
}

std::vector<SettingTable> tables_of(const toml::value& array, const TomlText& source) {
  std::vector<SettingTable> tables;
  for (const toml::value& element : array.as_array()) {
    tables.push_back({location_of(element, source), {}});
    for (const auto& [key, value] : element.as_table()) tables.back().settings.emplace(key, setting_of(value, key, source));
  }
  return tables;
}

TomlTable table_of(const toml::value& value, const std::string& key, const TomlText& source) {
  TomlTable table{location_of(value, source), {}, {}};
  if (is_array_of_tables(value))
    refuse(table.where, "expected the table [" + key + "] once, found an array of tables [[" + key + "]]");
  if (!value.is_table())
    refuse(key_location(toml11::place_of(value.location()), key, source),
           "'" + key + "' stands outside of a table; a setting belongs under a heading such as [optimizer]");
  for (const auto& [inner, setting] : value.as_table()) {
    if (is_array_of_tables(setting))
      table.arrays.emplace(inner, tables_of(setting, source));
    else
      table.settings.emplace(inner, setting_of(setting, inner, source));
  }
  return table;
}

}  // namespace

TomlDocument read_toml(std::string_view text, const std::string& name) {
  const FloatEnvironment environment;
  const TomlText source(text, name);
  TomlDocument document;
  try {
    std::istringstream in(source.text());
    const toml::value root = toml::parse(in, name);
    for (const auto& [key, value] : root.as_table()) document.emplace(key, table_of(value, key, source));
  } catch (const toml::exception& e) {
    refuse_fault(e, source);
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
