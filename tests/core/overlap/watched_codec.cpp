// SPDX-License-Identifier: Apache-2.0
// Compressor `watched`: fp32 as it is, and a metric that counts the blocks that were added to those of an earlier rank, so that
// a test sees what has arrived from other ranks while a step is under way.
#include <onebit/plugin.hpp>

#include <cstring>

namespace {

class Watched final : public onebit::BlockCompressor {
 public:
  static onebit::Slice<const onebit_schema> options() { return {}; }
  Watched(const onebit::Services& services, const onebit::Options& /*options*/)
      : services_(services), added_(services.metric(ONEBIT_METRIC_COUNTER, "watched.added")) {}
  onebit::Codec describe() const override { return {sizeof(onebit::Codec), 1024, 1, ONEBIT_SPAN_BLOCK, 1}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>(count) * sizeof(float); }
  void measure_block(const float* /*values*/, const float* /*errors*/, int64_t /*count*/, double* statistics) const override {
    statistics[0] = 0;
  }
  void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, const double* /*statistics*/,
                    std::byte* payload) const override {
    for (int64_t i = 0; i < count; ++i) {
      const float value = values[i] + errors[i];
      std::memcpy(payload + static_cast<size_t>(i) * sizeof value, &value, sizeof value);
      new_errors[i] = 0;
    }
  }
  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    for (int64_t i = 0; i < count; ++i) {
      float value = 0;
      std::memcpy(&value, payload + static_cast<size_t>(i) * sizeof value, sizeof value);
      out[i] = (add ? out[i] : 0) + weight * value;
    }
    if (add) services_.record(added_, 1);
  }

 private:
  const onebit::Services services_;
  const int32_t added_;
};

}  // namespace

ONEBIT_PLUGIN("watched", "1.0.0", onebit::component<Watched>("watched"))
