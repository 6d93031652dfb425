// SPDX-License-Identifier: Apache-2.0
// What sessions of an optimizer train: models of made-up parameters, which gradients draw towards one.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

namespace onebit::test {

inline Tensors noisy_model(const std::vector<size_t>& sizes) {
  Tensors zeros;
  for (const size_t size : sizes) zeros.emplace_back(size);
  return noisy(zeros, 777, 0);
}

// Of |p - 1|^2 / 2, with a rank's noise.
inline Tensors towards_one(const Tensors& parameters, int64_t step, int rank) {
  Tensors gradients = noisy(parameters, step, rank);
  for (size_t k = 0; k < parameters.size(); ++k)
    for (size_t i = 0; i < parameters[k].size(); ++i)
      gradients[k][i] = parameters[k][i] - 1 + 0.1F * noise(static_cast<uint64_t>(step), static_cast<uint64_t>(rank), k, i);
  return gradients;
}

// The root mean square of an element's.
inline double distance_to_one(const Tensors& parameters) {
  double squares = 0, count = 0;
  for (const auto& tensor : parameters)
    for (const float value : tensor) {
      squares += (value - 1.0) * (value - 1.0);
      ++count;
    }
  return std::sqrt(squares / count);
}

}  // namespace onebit::test
