// SPDX-License-Identifier: Apache-2.0
// Between fp32 and the 16-bit floats, rounding to nearest even: the same bits on every target, which Highway's own conversions
// don't promise everywhere (they cut off on targets without F16C, and for bf16). Infinities stay, a NaN stays one and becomes
// quiet, what is too large becomes infinite, subnormal fp16 is exact.
#pragma once

#include <cstdint>

#include "dtypes/wire_type.hpp"

namespace onebit {

// The bits of the largest magnitude: they order as numbers do, and a NaN's are the largest of all.
uint32_t largest_magnitude(const float* values, int64_t count);
// Of values * factor. type: fp16 or bf16. Answers how many values that are not zero have become zero.
uint64_t to_half(WireType type, const float* values, float factor, int64_t count, uint16_t* out);
// out = weight * value, or out += weight * value when add.
void from_half(WireType type, const uint16_t* halves, int64_t count, float weight, bool add, float* out);

// Each master that does not round to its half becomes the half's value.
void take_halves(WireType type, const uint16_t* halves, int64_t count, float* masters);

// fp32 to bf16 and back, of what is computed: the same bits, but a NaN that no processor makes may become another number.
// streamed: past the caches, where that is faster: into memory that has not just been read. What comes next is asked for ahead.
void narrow(const float* values, int64_t count, uint16_t* out, bool streamed);
void widen(const uint16_t* halves, int64_t count, float* out);

}  // namespace onebit
