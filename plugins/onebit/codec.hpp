// SPDX-License-Identifier: Apache-2.0
// The codec's work on one block, compiled for every SIMD target and chosen at run time; the same bits on each.
//
// Payload of a block of n elements, little-endian: the scale (fp32), then ceil(n / 32) words of sign bits. Element i is bit i
// mod 8, least significant first, of byte i / 8: 1 = not negative. Bits beyond n are 0.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arithmetic.hpp"

namespace onebit::codec {

inline size_t payload_size(int64_t count) { return sizeof(float) + static_cast<size_t>((count + 31) / 32) * sizeof(uint32_t); }

// The sum over value + error of |x| (l1) or x^2 (l2).
double sum(Norm norm, const float* values, const float* errors, int64_t count);
// new_errors = (value + error) -+ scale; new_errors may be errors.
void encode(const float* values, const float* errors, float* new_errors, int64_t count, float scale, std::byte* payload);
// out = +-(weight * scale), or out += that.
void decode(const std::byte* payload, int64_t count, float weight, bool add, float* out);

}  // namespace onebit::codec
