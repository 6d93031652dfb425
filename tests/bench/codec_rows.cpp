// SPDX-License-Identifier: Apache-2.0
// Encode and decode over arrays larger than any cache, one block a call, as the exchange calls them tile by tile.
#include <random>

#include "clock.hpp"
#include "components.hpp"
#include "dtypes/dense_codec.hpp"
#include "row.hpp"

namespace onebit::bench {
namespace {

constexpr int64_t elements = 64 * mega;

// A compressor and what it works on: whole blocks, so that all payloads have one size.
struct Codecs {
  Codecs()
      : compressor(make_onebit()),
        codec(compressor->describe()),
        payload_size(compressor->payload_size(codec.block)),
        values(meter, elements * sizeof(float)),
        errors(meter, elements * sizeof(float)),
        payload(meter, static_cast<size_t>(elements / codec.block) * payload_size) {
    std::minstd_rand random(1);
    std::uniform_real_distribution<float> between(-1, 1);
    for (int64_t i = 0; i < elements; ++i) values.as<float>()[i] = between(random);
    errors.zero();
    payload.zero();
  }

  template <class F>
  void each_block(F&& call) const {
    const onebit_piece piece = {0, codec.block, 0, 0, 0};
    const onebit_batch batch = {sizeof batch, 1, &piece, nullptr, 1, 0, nullptr, nullptr};
    for (int64_t block = 0; block < elements / codec.block; ++block)
      call(batch, block * codec.block, payload.bytes() + static_cast<size_t>(block) * payload_size);
  }

  void encode() const {
    double statistics[8];
    each_block([&](const Batch& batch, int64_t first, std::byte* out) {
      float* error = errors.as<float>() + first;
      compressor->measure(batch, values.as<float>() + first, error, statistics);
      compressor->encode(batch, values.as<float>() + first, error, error, statistics, out);
    });
  }
  void decode() const {
    each_block([&](const Batch& batch, int64_t first, const std::byte* in) {
      compressor->decode(batch, in, 0.5f, false, values.as<float>() + first);
    });
  }

  MemoryMeter meter;
  std::unique_ptr<Compressor> compressor;
  Codec codec;
  size_t payload_size;
  Buffer values, errors, payload;
};

// Values as dense rounds in fp16 carry them, a block a call.
struct HalfCodec {
  HalfCodec() : values(meter, elements * sizeof(float)), payload(meter, elements / block * size) {
    std::minstd_rand random(1);
    std::uniform_real_distribution<float> between(-1, 1);
    for (int64_t i = 0; i < elements; ++i) values.as<float>()[i] = between(random);
    encode();
  }
  void encode() const {
    for (int64_t i = 0; i < elements; i += block)
      codec.encode_block(values.as<float>() + i, nullptr, nullptr, block, nullptr, payload.bytes() + i / block * size);
  }
  void decode() const {
    for (int64_t i = 0; i < elements; i += block)
      codec.decode_block(payload.bytes() + i / block * size, block, 1.0F, false, values.as<float>() + i);
  }

  static constexpr int64_t block = 4096, size = dense_bytes(WireType::fp16, block);
  const DenseCodec codec{WireType::fp16};
  MemoryMeter meter;
  Buffer values, payload;
};

}  // namespace

void add_codec_rows() {
  add_row({"encode (measure and encode)", elements, 12, "value 4, worker error 4 + 4", 1, 0.8},
          [] { return [codecs = std::make_shared<const Codecs>()] { return seconds_of([&] { codecs->encode(); }); }; });
  add_row({"decode", elements, 8, "value 4 + 4", 1, 0.8},
          [] { return [codecs = std::make_shared<const Codecs>()] { return seconds_of([&] { codecs->decode(); }); }; });
  add_row({"fp16 encode", elements, 8, "value 4, payload 2 + 2", 1, 0.8},
          [] { return [codec = std::make_shared<const HalfCodec>()] { return seconds_of([&] { codec->encode(); }); }; });
  add_row({"fp16 decode", elements, 10, "payload 2, value 4 + 4", 1, 0.8},
          [] { return [codec = std::make_shared<const HalfCodec>()] { return seconds_of([&] { codec->decode(); }); }; });
}

}  // namespace onebit::bench
