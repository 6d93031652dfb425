// Compressor `my_plugin`: 8 bits an element. A block travels as its largest magnitude, divided by 127, and a multiple of that
// for each element; what is lost is the error, which the host adds to the next message.
#include <onebit/plugin.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace {

constexpr int64_t kBlock = 4096;  // elements: with their neighbours they stay in the first-level cache
constexpr float kLevels = 127;

class MyPlugin final : public onebit::BlockCompressor {
 public:
  static onebit::Slice<const onebit_schema> options() { return {}; }
  MyPlugin(const onebit::Services&, const onebit::Options&) {}

  // One statistic a block, the largest magnitude; with error feedback.
  onebit::Codec describe() const override { return {sizeof(onebit::Codec), kBlock, 1, ONEBIT_SPAN_BLOCK, 1}; }
  // The step between two levels, then a byte an element; in all a multiple of 4.
  size_t payload_size(int64_t count) const override { return sizeof(float) + (static_cast<size_t>(count) + 3) / 4 * 4; }

  void measure_block(const float* values, const float* errors, int64_t count, double* statistics) const override {
    float largest = 0;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i] + errors[i]));
    statistics[0] = largest;
  }
  // ---- The lines to change: what becomes of an element, and back.
  void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, const double* statistics,
                    std::byte* payload) const override {
    const float step = static_cast<float>(statistics[0]) / kLevels;
    std::memset(payload, 0, payload_size(count));
    std::memcpy(payload, &step, sizeof step);
    for (int64_t i = 0; i < count; ++i) {
      const float value = values[i] + errors[i];
      const auto level = static_cast<int8_t>(step > 0 ? std::clamp(std::nearbyint(value / step), -kLevels, kLevels) : 0);
      std::memcpy(payload + sizeof step + i, &level, 1);
      new_errors[i] = value - step * static_cast<float>(level);
    }
  }
  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    float step = 0;
    std::memcpy(&step, payload, sizeof step);
    for (int64_t i = 0; i < count; ++i) {
      int8_t level = 0;
      std::memcpy(&level, payload + sizeof step + i, 1);
      out[i] = (add ? out[i] : 0) + weight * (step * static_cast<float>(level));
    }
  }
  // ---- To here.
};

}  // namespace

ONEBIT_PLUGIN("my_plugin", "0.1.0", onebit::component<MyPlugin>("my_plugin"))
