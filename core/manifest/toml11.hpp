// SPDX-License-Identifier: Apache-2.0
// What toml11 3.7 and toml11 4 call by different names.
#pragma once

#include <cstdint>
#include <string>
#include <toml.hpp>

namespace onebit::toml11 {

// Both from 1; the column counts bytes.
struct Place {
  int64_t line = 1, column = 1;
};

// Why a text is no TOML, in toml11's words.
struct Fault {
  Place place;
  std::string title;   // "toml::parse_key: an invalid key appeared."
  std::string remark;  // beside its caret: "here"
};

#if TOML11_VERSION_MAJOR >= 4

inline Place place_of(const toml::source_location& at) {
  return {static_cast<int64_t>(at.first_line_number()), static_cast<int64_t>(at.first_column_number())};
}
inline const std::string& text_of(const toml::value& value) { return value.as_string(); }

inline Fault fault_of(const toml::exception& e) {
  const auto* syntax = dynamic_cast<const toml::syntax_error*>(&e);
  if (syntax == nullptr || syntax->errors().empty()) return {{}, e.what(), ""};
  const toml::error_info& first = syntax->errors().front();
  if (first.locations().empty()) return {{}, first.title(), ""};
  const auto& [at, remark] = first.locations().front();
  return {place_of(at), first.title(), remark};
}

#else

inline Place place_of(const toml::source_location& at) {
  return {static_cast<int64_t>(at.line()), static_cast<int64_t>(at.column())};
}
inline const std::string& text_of(const toml::value& value) { return value.as_string().str; }

// It has the line, and draws the column: a caret below an excerpt.
Fault fault_of(const toml::exception& e);

#endif

}  // namespace onebit::toml11
