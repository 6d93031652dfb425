// SPDX-License-Identifier: Apache-2.0
// Text to tables of settings with their locations, and single values to and from TOML.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "onebit/manifest.hpp"

namespace onebit {

struct TomlTable {
  Location where;
  Settings settings;
  std::map<std::string, std::vector<SettingTable>, std::less<>> arrays;  // of tables: [[table.name]]
};
using TomlDocument = std::map<std::string, TomlTable, std::less<>>;

// Throws Error(invalid_argument) with the location for text that is no TOML, for settings outside a table, and for values that
// no option can have (dates, nested tables, arrays of arrays).
TomlDocument read_toml(std::string_view text, const std::string& name);

// One TOML value, such as `1e-3`, `"l2"` or `[0.9, 0.999]`; nothing when the text is no such value.
std::optional<Value> read_value(std::string_view text);
// The value as TOML that reads back as the same value; over several lines where it is long.
std::string write_value(const Value& value);
// An array of what is written already.
std::string write_array(const std::vector<std::string>& elements);
// Words as a comment, of several lines where they are many; what no comment may hold becomes a blank or '?'.
std::string write_comment(std::string_view words);
// "the integer 3", `the string "abc"`, "the array [1.0, 2.0]".
std::string describe_value(const Value& value);

}  // namespace onebit
