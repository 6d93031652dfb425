// SPDX-License-Identifier: Apache-2.0
// Text as nobody would write it: quotes, blanks, control characters, brackets, and letters of up to four bytes.
#pragma once

#include <cstddef>
#include <iterator>
#include <random>
#include <string>

namespace onebit::test {

// At least `bytes` long, and valid UTF-8. zeros: it may hold bytes of 0.
inline std::string random_text(std::mt19937_64& random, size_t bytes, bool zeros = true) {
  static const std::string odd[] = {"\"",
                                    "'",
                                    "\\",
                                    " ",
                                    "\t",
                                    "\n",
                                    "\r",
                                    "\x7f",
                                    "\x01",
                                    "#",
                                    "=",
                                    "[",
                                    "]",
                                    "{",
                                    ",",
                                    "\"\"\"",
                                    "\xC2\x80",
                                    "\xC3\xA4",
                                    "\xE2\x82\xAC",
                                    "\xEF\xBF\xBD",
                                    "\xF0\x9D\x84\x9E",
                                    "\xF4\x8F\xBF\xBF"};
  std::string text;
  while (text.size() < bytes) {
    const uint64_t choice = random() % 64;
    if (choice < std::size(odd))
      text += odd[choice];
    else if (choice == 63 && zeros)
      text += '\0';
    else
      text += static_cast<char>('a' + choice % 26);
  }
  return text;
}

}  // namespace onebit::test
