// SPDX-License-Identifier: Apache-2.0
#include "dtypes/dense_codec.hpp"

#include <atomic>
#include <cstring>

#include "dtypes/half_conversion.hpp"

namespace onebit {

void DenseCodec::encode_block(const float* values, const float*, float*, int64_t count, const double*,
                              std::byte* payload) const {
  if (type_ == WireType::fp32) {
    std::memcpy(payload, values, payload_size(count));
    return;
  }
  const float unit = type_ == WireType::fp16 ? fp16_unit(largest_magnitude(values, count)) : 1.0F;
  if (type_ == WireType::fp16) std::memcpy(payload, &unit, sizeof unit);
  auto* halves = reinterpret_cast<uint16_t*>(payload + dense_header(type_));  // payloads are aligned to 4 bytes
  const uint64_t lost = to_half(type_, values, 1.0F / unit, count, halves);
  if (count % 2 != 0) halves[count] = 0;
  if (lost > 0 && vanished_ != nullptr) std::atomic_ref<uint64_t>(*vanished_).fetch_add(lost, std::memory_order_relaxed);
}

void DenseCodec::decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const {
  if (type_ != WireType::fp32) {
    float unit = 1;
    if (type_ == WireType::fp16) std::memcpy(&unit, payload, sizeof unit);
    const auto* halves = reinterpret_cast<const uint16_t*>(payload + dense_header(type_));
    return from_half(type_, halves, count, weight * unit, add, out);
  }
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
