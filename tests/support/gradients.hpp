// SPDX-License-Identifier: Apache-2.0
// Made-up gradients for sessions: the same on every machine, different on every rank and step.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace onebit::test {

// A counter-based hash to [-1, 1), so that any element can be made by itself.
inline float noise(uint64_t step, uint64_t rank, uint64_t tensor, uint64_t i) {
  uint64_t x = step * 0x9E3779B97F4A7C15U + rank * 0xBF58476D1CE4E5B9U + tensor * 0x94D049BB133111EBU + i;
  for (int round = 0; round < 2; ++round) {
    x ^= x >> 30U;
    x *= 0xBF58476D1CE4E5B9U;
    x ^= x >> 27U;
    x *= 0x94D049BB133111EBU;
  }
  return static_cast<float>(static_cast<double>(x >> 11U) / 4503599627370496.0 - 1.0);
}

inline std::vector<std::vector<float>> noisy(const std::vector<std::vector<float>>& like, int64_t step, int rank) {
  std::vector<std::vector<float>> result;
  for (size_t k = 0; k < like.size(); ++k) {
    std::vector<float>& tensor = result.emplace_back(like[k].size());
    for (size_t i = 0; i < tensor.size(); ++i)
      tensor[i] =
          noise(static_cast<uint64_t>(step), static_cast<uint64_t>(rank), k, i) + 0.3F * std::sin(static_cast<float>(i));
  }
  return result;
}

}  // namespace onebit::test
