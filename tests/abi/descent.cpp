// SPDX-License-Identifier: Apache-2.0
// What descent.c does, to the bit, in C++ on the SDK. What fails there throws here: an Error, a std::exception, an int.
#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "onebit/plugin.hpp"

#define TEXT_OF(x) #x
#define QUOTED(x) TEXT_OF(x)

// Of this name in every library that is built from here, or from descent.c.
std::string shared_name = std::string("1.0-") + QUOTED(NAME);

namespace {

onebit_schema fail_option() {
  return onebit::text_option("fail", "\"nowhere\"", "nowhere|create|plan|consume|encode", "the call that fails");
}

class Descent final : public onebit::Optimizer {
 public:
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {fail_option(), onebit::real_option("lr", "0.5", 0, 1, "the learning rate"),
                                           onebit::boolean_option("compressed", "false", "compress every second round")};
    return {schema, 3};
  }
  Descent(const onebit::Services& services, const onebit::Options& options)
      : services_(services),
        steps_seen_(services.metric(ONEBIT_METRIC_COUNTER, "descent.steps")),
        compressed_(options.boolean("compressed")),
        fail_(options.text("fail")) {
    if (fail_ == "create") throw onebit::Error(onebit::Code::device_error, "failed on purpose", 7);
    services.log(onebit::LogLevel::debug, shared_name, "made");
  }

  void declare(onebit::Slice<const onebit::TensorInfo* const>, onebit::StateDeclarer& state) override {
    momentum_ = state.per_element("momentum");
    steps_ = state.per_model("steps");
  }
  void plan(const onebit::Step&, const onebit::Totals& totals, onebit::Plan& plan) override {
    if (fail_ == "plan") throw std::runtime_error("failed on purpose");
    const bool even = onebit::counter(totals, steps_) % 2 == 1;
    plan.add_round(even && compressed_ ? onebit::RoundKind::compressed : onebit::RoundKind::dense, onebit::Of::message);
  }
  void produce(const onebit::Step&, int, const onebit::Tile& tile) const override {
    for (const onebit::Block& block : onebit::blocks(tile))
      for (int64_t i = 0; i < block.count; ++i) tile.message[block.packed + i] = block.gradient[i] * *tile.gradient_scale;
  }
  void consume(const onebit::Step& step, int, const onebit::Tile& tile) const override {
    if (fail_ == "consume") throw 3;
    for (const onebit::Block& block : onebit::blocks(tile)) {
      const auto rate = static_cast<float>(step.groups[block.group].learning_rate);
      float* const momentum = onebit::floats(tile, block, momentum_);
      for (int64_t i = 0; i < block.count; ++i) {
        momentum[i] = 0.5F * momentum[i] + tile.mean[block.packed + i];
        block.parameter[i] -= rate * momentum[i];
      }
    }
  }
  void combine(const onebit::Step&, const onebit::Totals& totals) override {
    *onebit::doubles(totals, steps_) += 1;
    services_.record(steps_seen_, 1);
  }

 private:
  onebit::Services services_;
  int32_t steps_seen_;
  bool compressed_;
  std::string fail_;
  int momentum_ = -1, steps_ = -1;
};

// The upper half of each float.
class UpperHalf final : public onebit::BlockCompressor {
 public:
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {fail_option()};
    return {schema, 1};
  }
  UpperHalf(const onebit::Services&, const onebit::Options& options) : fail_(options.text("fail")) {}

  onebit::Codec describe() const override { return {sizeof(onebit::Codec), 32, 0, ONEBIT_SPAN_BLOCK, 1}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>((count + 1) / 2 * 4); }
  void measure_block(const float*, const float*, int64_t, double*) const override {}
  void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, const double*,
                    std::byte* payload) const override {
    if (fail_ == "encode") throw std::bad_alloc();
    for (int64_t i = 0; i < count; ++i) {
      const float value = values[i] + errors[i];
      uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof bits);
      const auto half = static_cast<uint16_t>(bits >> 16);
      std::memcpy(payload + 2 * i, &half, sizeof half);
      new_errors[i] = value - value_of(half);
    }
    if (count % 2 != 0) std::fill_n(payload + 2 * count, 2, std::byte{});
  }
  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    for (int64_t i = 0; i < count; ++i) {
      uint16_t half = 0;
      std::memcpy(&half, payload + 2 * i, sizeof half);
      out[i] = (add ? out[i] : 0) + weight * value_of(half);
    }
  }

 private:
  static float value_of(uint16_t half) {
    const uint32_t bits = uint32_t{half} << 16;
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  std::string fail_;
};

}  // namespace

ONEBIT_PLUGIN(QUOTED(NAME), shared_name.c_str(), onebit::component<Descent>(QUOTED(NAME)),
              onebit::component<UpperHalf>(QUOTED(NAME)))
