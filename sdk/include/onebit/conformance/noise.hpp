// SPDX-License-Identifier: Apache-2.0
// Numbers that look random and are the same everywhere, in any order of asking; and comparisons to the bit.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "onebit/conformance/unmet.hpp"

namespace onebit::conformance {

using Floats = std::vector<float>;

// A number in [-1, 1) of a place in a sequence.
inline float noise(uint64_t sequence, uint64_t place) {
  uint64_t z = sequence * 0x9E3779B97F4A7C15U + (place + 1) * 0xD1B54A32D192ED03U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return static_cast<float>(static_cast<int64_t>(z >> 40) - (int64_t{1} << 23)) * 0x1p-23F;
}
inline Floats noises(uint64_t sequence, size_t count, float size, float middle = 0) {
  Floats values(count);
  for (size_t i = 0; i < count; ++i) values[i] = middle + size * noise(sequence, i);
  return values;
}

inline bool same_bits(float a, float b) {
  uint32_t bits_a = 0, bits_b = 0;
  std::memcpy(&bits_a, &a, sizeof a);
  std::memcpy(&bits_b, &b, sizeof b);
  return bits_a == bits_b;
}
inline bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
// Where the first difference is.
inline std::string first_difference(const Floats& a, const Floats& b) {
  if (a.size() != b.size()) return std::to_string(a.size()) + " elements and " + std::to_string(b.size());
  for (size_t i = 0; i < a.size(); ++i)
    if (!same_bits(a[i], b[i])) return "element " + std::to_string(i) + " is " + text_of(a[i]) + " and " + text_of(b[i]);
  return "";
}

}  // namespace onebit::conformance
