// SPDX-License-Identifier: Apache-2.0
// Compressor `qsgd`: k bits an element, rounded up or down at random so that the mean is right (QSGD: Alistarh et al., "QSGD:
// communication-efficient SGD via gradient quantization and encoding", arXiv 1610.02132; here with the levels spread from the
// least to the greatest value of each block, as is usual in practice, instead of up to its norm).
//
//   lo, hi   = least and greatest of x = value + error in the block
//   level j  = lo + (hi - lo) j / (2^k - 1)
//   code     = floor((x - lo) (2^k - 1) / (hi - lo) + u)       u uniform in [0, 1): the mean of what is decoded is x
//
// Unbiased as it is, it needs no error feedback; with `feedback` what was rounded away is sent later, which with few bits does
// better. A level is computed once, in double, for decode and for the new error alike.
//
// Payload of n elements: lo and hi (fp32), then n codes of k bits, the first in the lowest bits, in ceil(n k / 32) words.
#include "onebit/plugin.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "bit_stream.hpp"

namespace {

struct Range {
  float low, high;
};

// Never NaN, whatever x is: what compares false is passed over.
Range range_of(const float* values, const float* errors, int64_t count) {
  Range range = {std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()};
  for (int64_t i = 0; i < count; ++i) {
    const float x = errors == nullptr ? values[i] : values[i] + errors[i];
    range.low = x < range.low ? x : range.low;
    range.high = x > range.high ? x : range.high;
  }
  return range.low <= range.high ? range : Range{0, 0};
}

class Levels {
 public:
  Levels(Range range, int bits) : low_(range.low), last_((1 << bits) - 1) {
    const double span = static_cast<double>(range.high) - low_;  // two floats' span fits no float, perhaps
    for (int j = 0; j <= last_; ++j) value_[j] = static_cast<float>(low_ + span * j / last_);
    per_unit_ = span > 0 ? last_ / span : 0;
  }
  float operator[](uint32_t code) const { return value_[code]; }
  uint32_t round(float x, float uniform) const {
    const double at = (x - low_) * per_unit_ + static_cast<double>(uniform);
    return at >= last_ ? static_cast<uint32_t>(last_) : at > 0 ? static_cast<uint32_t>(at) : 0;
  }

 private:
  double low_, per_unit_;
  int last_;
  float value_[256];
};

class Qsgd final : public onebit::StochasticBlockCompressor {
 public:
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        onebit::integer_option("bits", "4", 1, 8, "bits an element"),
        onebit::boolean_option("feedback", "false", "send later what was rounded away"),
        onebit::integer_option("block", "1024", 32, 65536, "elements a block, a multiple of 32; each costs 64 bits more")};
    return {schema, std::size(schema)};
  }
  Qsgd(const onebit::Services&, const onebit::Options& options)
      : bits_(static_cast<int>(options.integer("bits"))),
        feedback_(options.boolean("feedback") ? 1 : 0),
        block_(options.integer("block")) {
    if (block_ % 32 != 0)
      throw onebit::Error(onebit::Code::invalid_argument,
                          "block is " + std::to_string(block_) + "; it must be a multiple of 32 from 32 to 65536");
  }

  onebit::Codec describe() const override { return {sizeof(onebit::Codec), block_, 0, ONEBIT_SPAN_BLOCK, feedback_}; }
  size_t payload_size(int64_t count) const override { return sizeof(Range) + BitWriter::size(count * bits_); }

  void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, const double*,
                    const onebit::CounterRandom& random, std::byte* payload) const override {
    const Range range = range_of(values, errors, count);
    const Levels levels(range, bits_);
    std::memcpy(payload, &range, sizeof range);
    onebit::CounterDraws draws(random);
    BitWriter codes(payload + sizeof range);
    for (int64_t i = 0; i < count; ++i) {
      const float x = errors == nullptr ? values[i] : values[i] + errors[i];
      const uint32_t code = levels.round(x, draws.unit());
      codes.put(code, bits_);
      if (new_errors != nullptr) new_errors[i] = x - levels[code];
    }
    codes.finish();
  }

  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    Range range;
    std::memcpy(&range, payload, sizeof range);
    const Levels levels(range, bits_);
    BitReader codes(payload + sizeof range);
    for (int64_t i = 0; i < count; ++i) {
      const float x = weight * levels[codes.take(bits_)];
      out[i] = add ? out[i] + x : x;
    }
  }

 private:
  const int bits_;
  const int32_t feedback_;
  const int64_t block_;
};

}  // namespace

ONEBIT_PLUGIN("qsgd", "1.0.0", onebit::component<Qsgd>("qsgd"))
