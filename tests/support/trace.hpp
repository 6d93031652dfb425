// SPDX-License-Identifier: Apache-2.0
// Recorded traces of the reference implementation (tests/golden) and the closed-form inputs they were recorded from.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace onebit::test {

inline nlohmann::json golden(const std::string& name) {
  std::ifstream in(std::string(ONEBIT_SOURCE_DIR) + "/tests/golden/" + name);
  return nlohmann::json::parse(in);
}

inline std::vector<float> trace_parameter(int tensor, size_t elements) {
  std::vector<float> values;
  for (size_t i = 0; i < elements; ++i)
    values.push_back(static_cast<float>(std::cos(0.05 * static_cast<double>(i + 1) + tensor)));
  return values;
}

// From what was recorded, tensor by tensor.
inline double largest_difference(const std::vector<std::vector<float>>& found, const nlohmann::json& recorded) {
  double largest = 0;
  for (size_t k = 0; k < found.size(); ++k)
    for (size_t i = 0; i < found[k].size(); ++i)
      largest = std::max(largest, std::fabs(static_cast<double>(found[k][i]) - recorded[k][i].get<double>()));
  return largest;
}

// t counts from 1.
inline std::vector<float> trace_gradient(int t, int rank, int tensor, size_t elements) {
  std::vector<float> values;
  for (size_t i = 1; i <= elements; ++i) {
    const auto x = static_cast<double>(i);
    values.push_back(
        static_cast<float>(std::sin(0.37 * x + 1.3 * t + 2.1 * rank + 0.7 * tensor) + 0.25 * std::cos(0.11 * x * (t + 1))));
  }
  return values;
}

}  // namespace onebit::test
