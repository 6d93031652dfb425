// SPDX-License-Identifier: Apache-2.0
// The codec of what isn't compressed: values as they are, in fp32 or rounded to 16 bits. So the exchange knows one kind of
// round only, a two-phase mean through a codec.
#pragma once

#include "dtypes/wire_type.hpp"
#include "onebit/compressor.hpp"

namespace onebit {

class DenseCodec final : public BlockCompressor {
 public:
  // vanished: counts the elements, of all threads, that were not zero and are zero as they travel; NULL: nobody wants to know.
  explicit DenseCodec(WireType type = WireType::fp32, uint64_t* vanished = nullptr) : type_(type), vanished_(vanished) {}
  Codec describe() const override { return {sizeof(Codec), 65536, 0, ONEBIT_SPAN_BLOCK, 0}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>(dense_bytes(type_, count)); }
  void measure_block(const float*, const float*, int64_t, double*) const override {}
  void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, const double* statistics,
                    std::byte* payload) const override;
  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override;

 private:
  WireType type_;
  uint64_t* vanished_;
};

}  // namespace onebit
