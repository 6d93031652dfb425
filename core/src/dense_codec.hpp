// The codec of dense rounds, and of tensors below exchange.dense_below: fp32 as it is. So the exchange knows one kind of round
// only, a two-phase mean through a codec.
#pragma once

#include "onebit/compressor.hpp"

namespace onebit {

class DenseCodec final : public BlockCompressor {
 public:
  Codec describe() const override { return {sizeof(Codec), 65536, 0, ONEBIT_SPAN_BLOCK, 0}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>(count) * sizeof(float); }
  void measure_block(const float*, const float*, int64_t, double*) const override {}
  void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, const double* statistics,
                    std::byte* payload) const override;
  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override;
};

}  // namespace onebit
