// SPDX-License-Identifier: Apache-2.0
// libtorch's errors as ours.
#pragma once

#include <c10/util/Exception.h>

#include <string>

#include "onebit/error.hpp"

namespace onebit::host {

// Runs f. What libtorch throws comes with a C++ backtrace that helps nobody who runs a command. what: goes before its reason.
template <class F>
auto telling(F&& f, Code code = Code::internal, const std::string& what = "libtorch") {
  try {
    return f();
  } catch (const c10::Error& e) {
    throw Error(code, what + ": " + e.what_without_backtrace());
  }
}

}  // namespace onebit::host
