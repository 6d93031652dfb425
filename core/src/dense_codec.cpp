#include "dense_codec.hpp"

#include <cstring>

namespace onebit {

void DenseCodec::encode_block(const float* values, const float*, float*, int64_t count, const double*,
                              std::byte* payload) const {
  std::memcpy(payload, values, payload_size(count));
}

void DenseCodec::decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const {
  const float* __restrict in = reinterpret_cast<const float*>(payload);  // payloads are aligned to 4 bytes
  float* __restrict to = out;
  if (!add && weight == 1.0F)
    std::memcpy(to, in, payload_size(count));
  else if (!add)
    for (int64_t i = 0; i < count; ++i) to[i] = weight * in[i];
  else
    for (int64_t i = 0; i < count; ++i) to[i] += weight * in[i];
}

}  // namespace onebit
