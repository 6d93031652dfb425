// SPDX-License-Identifier: Apache-2.0
// Models of 16 bits, made of models of fp32, and back.
#pragma once

#include <cstdint>
#include <vector>

#include "dtypes/half_conversion.hpp"
#include "support/sessions.hpp"

namespace onebit::test {

using Halves = std::vector<std::vector<uint16_t>>;

inline WireType wire_type(HalfType type) { return type == HalfType::fp16 ? WireType::fp16 : WireType::bf16; }

inline Halves rounded(const Tensors& tensors, HalfType type) {
  Halves made;
  for (const std::vector<float>& tensor : tensors) {
    made.emplace_back(tensor.size());
    to_half(wire_type(type), tensor.data(), 1.0F, static_cast<int64_t>(tensor.size()), made.back().data());
  }
  return made;
}

inline Tensors widened(const Halves& halves, HalfType type) {
  Tensors made;
  for (const std::vector<uint16_t>& tensor : halves) {
    made.emplace_back(tensor.size());
    from_half(wire_type(type), tensor.data(), static_cast<int64_t>(tensor.size()), 1.0F, false, made.back().data());
  }
  return made;
}

}  // namespace onebit::test
