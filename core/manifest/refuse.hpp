// SPDX-License-Identifier: Apache-2.0
// How what stands in a manifest is refused: with its place.
#pragma once

#include <string>

#include "onebit/error.hpp"
#include "onebit/manifest.hpp"

namespace onebit {

[[noreturn]] inline void refuse(const Location& where, const std::string& reason) {
  throw Error(Code::invalid_argument, where.text() + ": " + reason);
}

}  // namespace onebit
