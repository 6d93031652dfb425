// SPDX-License-Identifier: Apache-2.0
// bf16: the upper half of an fp32 number. For per-element state (StateDeclarer), in loops on the CPU and in CUDA kernels
// (arithmetic.hpp). as_float and kept are there for fp32, too, so that one loop is compiled for both.
#pragma once

#include <cstdint>
#include <cstring>

#include "onebit/arithmetic.hpp"

namespace onebit {

struct Bf16 {
  uint16_t bits;
};

ONEBIT_HOST_DEVICE float as_float(float x) { return x; }
ONEBIT_HOST_DEVICE float as_float(Bf16 x) {
  const uint32_t word = static_cast<uint32_t>(x.bits) << 16U;
  float value = 0;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// Stores x, which is finite, rounded to nearest even; answers what it has become.
ONEBIT_HOST_DEVICE float kept(float x, float& at) { return at = x; }
ONEBIT_HOST_DEVICE float kept(float x, Bf16& at) {
  uint32_t word = 0;
  std::memcpy(&word, &x, sizeof word);
  at.bits = static_cast<uint16_t>((word + 0x7fffU + (word >> 16U & 1U)) >> 16U);
  return as_float(at);
}

}  // namespace onebit
