// SPDX-License-Identifier: Apache-2.0
// What a compressed round makes of a vector, for tests of an optimizer's arithmetic.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "onebit/conformance/fixtures/tile_host.hpp"

namespace onebit::test {

using conformance::TileHost;
using Vector = conformance::Floats;

// For TileHost::mean: signs and one scale a tensor, with error feedback. Keeps what it answered last.
class Signs {
 public:
  explicit Signs(const std::vector<Vector>& like) : like_(&like) {}
  Vector operator()(const Vector& message, bool compressed) {
    if (!compressed) return message;
    error_.resize(message.size());
    last.resize(message.size());
    size_t first = 0;
    for (const Vector& tensor : *like_) {
      double sum = 0;
      for (size_t i = first; i < first + tensor.size(); ++i) sum += std::fabs(message[i] + error_[i]);
      const auto step = static_cast<float>(sum / static_cast<double>(tensor.size()));
      for (size_t i = first; i < first + tensor.size(); ++i) {
        last[i] = message[i] + error_[i] < 0 ? -step : step;
        error_[i] += message[i] - last[i];
      }
      first += tensor.size();
    }
    return last;
  }
  Vector last;

 private:
  const std::vector<Vector>* like_;
  Vector error_;
};

}  // namespace onebit::test
