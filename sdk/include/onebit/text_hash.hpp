// SPDX-License-Identifier: Apache-2.0
// A number for a text that ranks compare, the same in every process and version.
#pragma once

#include <cstdint>
#include <string_view>

namespace onebit {

// FNV-1a of 64 bits.
inline uint64_t text_hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

}  // namespace onebit
