// SPDX-License-Identifier: Apache-2.0
// What a call says is wrong.
#pragma once

#include <functional>
#include <string>

#include "onebit/error.hpp"

namespace onebit::test {

// "" for no error.
inline std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace onebit::test
