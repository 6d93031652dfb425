// SPDX-License-Identifier: Apache-2.0
// For tests of an optimizer's arithmetic, call by call: options, tensors, and how far those are from an oracle's.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "onebit/conformance/fixtures/noise.hpp"

namespace onebit::test {

using Vector = conformance::Floats;

inline std::string freeze_at(int step, const std::string& more = "") {
  return "freeze_step = " + std::to_string(step) + "\n" + more;
}

inline std::vector<Vector> random_tensors(std::mt19937& generator, const std::vector<size_t>& sizes, float deviation) {
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<Vector> tensors;
  for (const size_t size : sizes) {
    Vector tensor(size);
    for (float& value : tensor) value = distribution(generator);
    tensors.push_back(tensor);
  }
  return tensors;
}

inline double largest_difference(const Vector& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(static_cast<double>(a[i]) - b[i]));
  return most;
}
inline double largest_difference(const std::vector<Vector>& a, const std::vector<std::vector<double>>& b) {
  double most = 0;
  for (size_t k = 0; k < a.size(); ++k) most = std::max(most, largest_difference(a[k], b[k]));
  return most;
}

inline std::vector<Vector> seeded_tensors(const std::vector<size_t>& sizes, uint32_t seed, float deviation = 1) {
  std::mt19937 generator(seed);
  return random_tensors(generator, sizes, deviation);
}

}  // namespace onebit::test
