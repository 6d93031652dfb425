// SPDX-License-Identifier: Apache-2.0
// What a dense element travels as (exchange.dense_dtype).
#pragma once

#include <cstdint>
#include <string_view>

namespace onebit {

enum class WireType { fp32, fp16, bf16 };

inline WireType wire_type_of(std::string_view name) {
  return name == "fp16" ? WireType::fp16 : name == "bf16" ? WireType::bf16 : WireType::fp32;
}

// Of a block's payload: a multiple of 4, as every payload, so an odd number of 16-bit elements has two bytes of zeros behind
// it.
inline int64_t dense_bytes(WireType type, int64_t count) { return type == WireType::fp32 ? 4 * count : (count + 1) / 2 * 4; }

// The first magnitude that fp16, rounding to nearest, takes for infinite; its largest number is 65504.
inline constexpr float fp16_overflow = 65520.0F;

}  // namespace onebit
