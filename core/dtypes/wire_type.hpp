// SPDX-License-Identifier: Apache-2.0
// What an element travels as in dense rounds (exchange.dense_dtype), and what an error is kept as (exchange.error_dtype).
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "onebit/arithmetic.hpp"

namespace onebit {

enum class WireType { fp32, fp16, bf16 };

inline WireType wire_type_of(std::string_view name) {
  return name == "fp16" ? WireType::fp16 : name == "bf16" ? WireType::bf16 : WireType::fp32;
}

// Of one element, without what is before and behind those of a block.
constexpr int64_t element_bytes(WireType type) { return type == WireType::fp32 ? 4 : 2; }

// Its name in safetensors.
constexpr const char* stored_name(WireType type) {
  return type == WireType::fp32 ? "F32" : type == WireType::fp16 ? "F16" : "BF16";
}

// Before the elements of a block: the unit that fp16 is counted in, as fp32.
ONEBIT_HOST_DEVICE constexpr int64_t dense_header(WireType type) { return type == WireType::fp16 ? 4 : 0; }
// Of a block's payload: a multiple of 4, as every payload, so an odd number of 16-bit elements has two bytes of zeros behind
// it.
constexpr int64_t dense_bytes(WireType type, int64_t count) {
  return type == WireType::fp32 ? 4 * count : dense_header(type) + (count + 1) / 2 * 4;
}

// fp16 reaches from 6e-8 to 65504, gradients from 1e-38 to 1e16: so each block has a unit of its own, a power of two that
// brings its largest magnitude, given as its bits, to between 2^14 and 2^15. Then nothing is too large, and what becomes zero
// is less than 2^-39 of the largest. Of bf16, which has fp32's range, the unit is 1.
ONEBIT_HOST_DEVICE float fp16_unit(uint32_t largest) {
  const uint32_t exponent = largest >> 23U, bits = (exponent > 15 ? exponent - 14 : 1) << 23U;
  float unit = 0;
  std::memcpy(&unit, &bits, sizeof unit);
  return unit;
}

}  // namespace onebit
