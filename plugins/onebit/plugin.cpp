// SPDX-License-Identifier: Apache-2.0
// Compressor `onebit`: the sign of each element, one scale a span.
#include "onebit/plugin.hpp"

#include "codec.hpp"
#include "settings.hpp"

namespace onebit {
namespace {

class OneBit final : public BlockCompressor {
 public:
  static Slice<const onebit_schema> options() { return codec::Settings::options(); }
  OneBit(const Services&, const Options& options) : settings_(options) {}

  Codec describe() const override { return settings_.describe(); }
  size_t payload_size(int64_t count) const override { return codec::payload_size(count); }

  void measure_block(const float* values, const float* errors, int64_t count, double* statistics) const override {
    statistics[0] = codec::sum(settings_.norm, values, errors, count);
    statistics[1] = static_cast<double>(count);
  }
  void fold_span(const double* blocks, size_t block_count, double* span) const override {
    span[0] = span[1] = 0;
    for (size_t i = 0; i < block_count; ++i) {
      span[0] += blocks[2 * i];
      span[1] += blocks[2 * i + 1];
    }
  }
  void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, const double* statistics,
                    std::byte* payload) const override {
    codec::encode(values, errors, new_errors, count, codec::scale_of(settings_.norm, statistics[0], statistics[1]), payload);
  }
  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    codec::decode(payload, count, weight, add, out);
  }

 private:
  const codec::Settings settings_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("onebit", "1.0.0", onebit::component<onebit::OneBit>("onebit"))
