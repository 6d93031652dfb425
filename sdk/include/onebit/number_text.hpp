// SPDX-License-Identifier: Apache-2.0
// Numbers in messages, the same whatever locale the process has set: with std::to_string, printf and streams a German process
// would tell of "0,25 s".
#pragma once

#include <cstdio>
#include <cstring>
#include <string>

namespace onebit {
namespace detail {

// What printf took for the decimal point may be any bytes.
inline std::string with_point(const char* printed) {
  std::string text;
  for (; *printed != '\0'; ++printed) {
    if (std::strchr("0123456789+-einfa", *printed) != nullptr)
      text += *printed;
    else if (text.empty() || text.back() != '.')
      text += '.';
  }
  return text;
}

}  // namespace detail

// With so many significant digits, and no zeros behind them: "0.25", "1e+09".
inline std::string number_text(double value, int digits = 6) {
  char printed[64];
  std::snprintf(printed, sizeof printed, "%.*g", digits, value);
  return detail::with_point(printed);
}

// With so many decimals: "0.2500". For values of moderate size: what is longer than 60 characters is cut off.
inline std::string fixed_text(double value, int decimals) {
  char printed[64];
  std::snprintf(printed, sizeof printed, "%.*f", decimals, value);
  return detail::with_point(printed);
}

}  // namespace onebit
