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
  Codecs(Bench& bench, int64_t elements, Between between)
      : stream_(bench.stream()),
        between_(between),
        compressor_(make_onebit()),
        cut_(bench.device(), bench.meter(), *compressor_, elements),
        values_(bench.meter(), cut_.extent(between) * sizeof(float)),
        errors_(bench.meter(), static_cast<size_t>(cut_.layout.flat) * sizeof(float)),
        statistics_(bench.meter(), cut_.layout.most_tile_blocks * 2 * sizeof(double)),
        payload_(bench.meter(), static_cast<size_t>(cut_.payload_bytes())) {
    fill(values_.as<float>(), static_cast<int64_t>(cut_.extent(between)), 2, stream_);
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
        call(cut_.batch(bucket, tile), Cut::at(values_, tile, between_), Cut::at(errors_, tile, Between::in_memory),
             payload_.bytes() + cut_.payload_of(bucket));
      });
    });
  }

  cudaStream_t stream_;
  const Between between_;
  std::unique_ptr<Compressor> compressor_;
  const Cut cut_;
  Buffer values_, errors_, statistics_, payload_;
  Stopwatch stopwatch_;
};

Maker codec(Bench& bench, Between between, double (Codecs::*part)()) {
  return [&bench, between, part](int64_t elements) -> Work {
    auto codecs = std::make_shared<Codecs>(bench, elements, between);
    return [codecs, part] { return ((*codecs).*part)(); };
  };
}

}  // namespace

void add_codec_rows(Bench& bench) {
  const double bits = payload_per_element();
  const std::string and_bits = fmt::format(", bits {:.2f}", bits);
  const auto in_memory = [&](double (Codecs::*part)()) { return codec(bench, Between::in_memory, part); };
  bench.add({"measure", 8, "value 4, worker error 4", 0.85, 9}, in_memory(&Codecs::measure));
  bench.add({"encode (measure and encode)", 12 + bits, "value 4, worker error 4+4" + and_bits, 0.85, 9},
            in_memory(&Codecs::encode));
  bench.add({"decode", 4 + bits, "value 4" + and_bits, 0.85, 9}, in_memory(&Codecs::decode));
  bench.add({"decode, adding", 8 + bits, "value 4+4" + and_bits, 0, 9}, in_memory(&Codecs::decode_adding));
  const auto in_cache = [&](double (Codecs::*part)()) { return codec(bench, Between::in_cache, part); };
  bench.add({"encode, its values in cache", 8 + bits, "worker error 4+4" + and_bits, 0, 5}, in_cache(&Codecs::encode));
  bench.add({"decode, its values in cache", bits, fmt::format("bits {:.2f}", bits), 0, 5}, in_cache(&Codecs::decode));
}

}  // namespace onebit::gpu_bench
