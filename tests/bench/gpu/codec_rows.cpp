// SPDX-License-Identifier: Apache-2.0
// The codec `onebit`, tile by tile.
#include <fmt/core.h>

#include <memory>

#include "bench.hpp"
#include "components.hpp"
#include "cut.hpp"
#include "kernels.hpp"

namespace onebit::gpu_bench {
namespace {

class Codecs {
 public:
  Codecs(Bench& bench, int64_t elements, Calls calls)
      : stream_(bench.stream()),
        compressor_(make_onebit()),
        cut_(bench, *compressor_, elements, calls),
        values_(bench.meter(), cut_.extent() * sizeof(float)),
        errors_(bench.meter(), static_cast<size_t>(cut_.layout.flat) * sizeof(float)),
        statistics_(bench.meter(), cut_.layout.most_tile_blocks * 2 * sizeof(double)),
        payload_(bench.meter(), static_cast<size_t>(cut_.payload_bytes())) {
    fill(values_.as<float>(), static_cast<int64_t>(cut_.extent()), 2, stream_);
    (void)encode();
  }

  double measure() {
    return seconds([&](const Batch& batch, float* values, float* errors, std::byte*) {
      compressor_->measure(batch, values, errors, statistics_.as<double>());
    });
  }
  double encode() {
    return seconds([&](const Batch& batch, float* values, float* errors, std::byte* payload) {
      compressor_->measure(batch, values, errors, statistics_.as<double>());
      compressor_->encode(batch, values, errors, errors, statistics_.as<double>(), payload);
    });
  }
  double encode_only() {
    return seconds([&](const Batch& batch, float* values, float* errors, std::byte* payload) {
      compressor_->encode(batch, values, errors, errors, statistics_.as<double>(), payload);
    });
  }
  double decode() { return decode(false); }
  double decode_adding() { return decode(true); }

 private:
  double decode(bool add) {
    return seconds([&](const Batch& batch, float* values, float*, const std::byte* payload) {
      compressor_->decode(batch, payload, 0.5F, add, values);
    });
  }
  template <class F>
  double seconds(F&& call) {
    return stopwatch_.seconds(stream_, [&] {
      cut_.each_tile([&](const Bucket& bucket, const TileRange& tile) {
        call(cut_.batch(bucket, tile), cut_.at(values_, tile), errors_.as<float>() + tile.base,
             payload_.bytes() + cut_.payload_of(bucket));
      });
    });
  }

  cudaStream_t stream_;
  std::unique_ptr<Compressor> compressor_;
  const Cut cut_;
  Buffer values_, errors_, statistics_, payload_;
  Stopwatch stopwatch_;
};

Maker codec(Bench& bench, Calls calls, double (Codecs::*part)()) {
  return [&bench, calls, part](int64_t elements) -> Work {
    auto codecs = std::make_shared<Codecs>(bench, elements, calls);
    return [codecs, part] { return ((*codecs).*part)(); };
  };
}

}  // namespace

void add_codec_rows(Bench& bench) {
  const double bits = payload_per_element();
  const std::string and_bits = fmt::format(", bits {:.2f}", bits);
  const auto add = [&](const char* what, double bytes, const std::string& terms, double goal, Calls calls,
                       double (Codecs::*part)()) {
    bench.add({what, bytes, terms, goal, 10}, codec(bench, calls, part));
  };
  add("measure", 8, "value 4, worker error 4", 0.85, Calls::by_tile, &Codecs::measure);
  add("encode (measure and encode)", 12 + bits, "value 4, worker error 4+4" + and_bits, 0.85, Calls::by_tile, &Codecs::encode);
  add("decode", 4 + bits, "value 4" + and_bits, 0.85, Calls::by_tile, &Codecs::decode);
  add("decode, adding", 8 + bits, "value 4+4" + and_bits, 0, Calls::by_tile, &Codecs::decode_adding);
  add("measure, in one launch", 8, "value 4, worker error 4", 0.85, Calls::at_once, &Codecs::measure);
  add("encode alone, in one launch", 12 + bits, "value 4, worker error 4+4" + and_bits, 0.85, Calls::at_once,
      &Codecs::encode_only);
  add("decode, in one launch", 4 + bits, "value 4" + and_bits, 0.85, Calls::at_once, &Codecs::decode);
  add("encode, as in a step", 8 + bits, "worker error 4+4" + and_bits + "; in cache: value", 0, Calls::by_tile_in_cache,
      &Codecs::encode);
  add("decode, as in a step", bits, fmt::format("bits {:.2f}; in cache: value", bits), 0, Calls::by_tile_in_cache,
      &Codecs::decode);
}

}  // namespace onebit::gpu_bench
