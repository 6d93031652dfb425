// SPDX-License-Identifier: Apache-2.0
// What the codec is made with and given, on the CPU and on CUDA.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace onebit::test {

inline std::vector<float> normal(size_t count, uint32_t seed, float deviation = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(generator);
  return values;
}

inline std::string options(const std::string& scale, const std::string& norm, int64_t block) {
  return "scale = \"" + scale + "\"\nnorm = \"" + norm + "\"\nblock = " + std::to_string(block);
}

}  // namespace onebit::test
