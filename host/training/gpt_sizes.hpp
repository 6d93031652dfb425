// SPDX-License-Identifier: Apache-2.0
// The sizes of the model `gpt`: a decoder-only transformer on characters.
#pragma once

#include <cstdint>

#include "data_sets/text.hpp"

namespace onebit::host::gpt {

inline constexpr int64_t kContext = kWindow;
inline constexpr int64_t kWidth = 256;
inline constexpr int64_t kLayers = 4;
inline constexpr int64_t kHeads = 8;
inline constexpr int64_t kInner = 4 * kWidth;  // of a block's MLP

}  // namespace onebit::host::gpt
