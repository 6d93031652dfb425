// SPDX-License-Identifier: Apache-2.0
// The dtypes of safetensors 0.8, by their names in files.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace onebit {

// Of one element. Nothing for a dtype that is not known here: later versions of the format may have others.
std::optional<uint64_t> bits_of(std::string_view dtype);

}  // namespace onebit
