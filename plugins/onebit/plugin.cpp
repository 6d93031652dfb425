// Compressor `onebit`: the sign of each element, one scale a span.
#include "onebit/plugin.hpp"

#include <string>

#include "codec.hpp"

namespace onebit {
namespace {

Span span_of(std::string_view scale) {
  return scale == "tensor" ? Span::tensor : scale == "bucket" ? Span::bucket : Span::block;
}

class OneBit final : public BlockCompressor {
 public:
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        text_option("scale", "\"block\"", "block|tensor|bucket",
                    "what shares one scale: a block, a tensor or a bucket; tensor and bucket are the papers'"),
        text_option("norm", "\"l2\"", "l2|l1",
                    "the scale: l2, the root mean square; l1, the mean magnitude, which has the least error"),
        integer_option("block", "4096", 32, 65536,
                       "elements a block, a multiple of 32; 4096 cost 1.008 bits an element and fit L1")};
    return {schema, std::size(schema)};
  }

  OneBit(const Services&, const Options& options)
      : span_(span_of(options.text("scale"))),
        norm_(options.text("norm") == "l1" ? codec::Norm::l1 : codec::Norm::l2),
        block_(options.integer("block")) {
    if (block_ < 32 || block_ > 65536 || block_ % 32 != 0)
      throw Error(Code::invalid_argument,
                  "block is " + std::to_string(block_) + "; it must be a multiple of 32 from 32 to 65536");
  }

  Codec describe() const override { return {sizeof(Codec), block_, 2, static_cast<int32_t>(span_), 1}; }
  size_t payload_size(int64_t count) const override { return codec::payload_size(count); }

  void measure_block(const float* values, const float* errors, int64_t count, double* statistics) const override {
    statistics[0] = codec::sum(norm_, values, errors, count);
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
    codec::encode(values, errors, new_errors, count, codec::scale_of(norm_, statistics[0], statistics[1]), payload);
  }
  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    codec::decode(payload, count, weight, add, out);
  }

 private:
  const Span span_;
  const codec::Norm norm_;
  const int64_t block_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("onebit", "0.1.0", onebit::component<onebit::OneBit>("onebit"))
