// SPDX-License-Identifier: Apache-2.0
// What the suites of this room share: libraries that are wrong on purpose, and the words of an error.
#pragma once

#include <filesystem>
#include <string>

#include "onebit/error.hpp"

namespace onebit::test {

// Of tests/bad_plugins.
inline std::filesystem::path bad(const std::string& name) { return std::filesystem::path(ONEBIT_BAD_PLUGINS) / (name + ".so"); }

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace onebit::test
