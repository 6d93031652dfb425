// SPDX-License-Identifier: Apache-2.0
#include "exchange/dense_codec.hpp"

#include <cstring>

#include "exchange/half_conversion.hpp"

namespace onebit {

void DenseCodec::encode_block(const float* values, const float*, float*, int64_t count, const double*,
                              std::byte* payload) const {
  if (type_ == WireType::fp32) {
    std::memcpy(payload, values, payload_size(count));
    return;
  }
  auto* halves = reinterpret_cast<uint16_t*>(payload);  // payloads are aligned to 4 bytes
  to_half(type_, values, count, halves);
  if (count % 2 != 0) halves[count] = 0;
}

void DenseCodec::decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const {
  if (type_ != WireType::fp32) return from_half(type_, reinterpret_cast<const uint16_t*>(payload), count, weight, add, out);
  const float* __restrict in = reinterpret_cast<const float*>(payload);
  float* __restrict to = out;
  if (!add && weight == 1.0F)
    std::memcpy(to, in, payload_size(count));
  else if (!add)
    for (int64_t i = 0; i < count; ++i) to[i] = weight * in[i];
  else
    for (int64_t i = 0; i < count; ++i) to[i] += weight * in[i];
}

}  // namespace onebit
