// SPDX-License-Identifier: Apache-2.0
// What tests look for in texts.
#pragma once

#include <string>

namespace onebit::test {

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace onebit::test
