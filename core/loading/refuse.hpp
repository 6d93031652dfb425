// SPDX-License-Identifier: Apache-2.0
// How this room refuses a library; who loads it puts the library's name before the reason.
#pragma once

#include <string>

#include "onebit/error.hpp"

namespace onebit {

[[noreturn]] inline void refuse(const std::string& reason) { throw Error(Code::invalid_argument, reason); }

}  // namespace onebit
