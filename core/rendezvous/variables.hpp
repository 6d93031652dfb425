// SPDX-License-Identifier: Apache-2.0
// Variables of the environment that are numbers: read whole, whatever the locale, or refused by name.
#pragma once

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "onebit/error.hpp"
#include "rendezvous/store_protocol.hpp"

namespace onebit::variable {

using store::kMostRanks;

[[noreturn]] inline void refuse(const std::string& text) { throw Error(Code::invalid_argument, text); }

// "": not set; a launcher's variable that is empty says as little.
inline std::string_view text(const char* name) {
  const char* found = std::getenv(name);
  return found == nullptr ? "" : found;
}
inline bool is_set(const char* name) { return !text(name).empty(); }

inline std::optional<int> number_of(std::string_view text, int least, int most) {
  int value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed == std::errc() && end == text.data() + text.size() && value >= least && value <= most) return value;
  return std::nullopt;
}

inline int number(const char* name, int least, int most) {
  if (const auto value = number_of(text(name), least, most)) return *value;
  refuse(std::string(name) + " is '" + std::string(text(name)) + "': expected a number from " + std::to_string(least) + " to " +
         std::to_string(most));
}

// Below the size that another variable tells.
inline int rank(const char* name, int size, const char* size_name) {
  const int value = number(name, 0, kMostRanks - 1);
  if (value >= size)
    refuse(std::string(name) + " is " + std::to_string(value) + ", but " + size_name + " is " + std::to_string(size) +
           ": ranks are counted from 0 to " + std::to_string(size - 1));
  return value;
}

inline void require(const char* name, const char* because, const char* what) {
  if (!is_set(name))
    refuse(std::string(name) + " is not set, but " + because + " is: a launcher such as torchrun sets both; set " + name +
           " to " + what + ", or unset " + because);
}

}  // namespace onebit::variable
