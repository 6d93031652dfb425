// SPDX-License-Identifier: Apache-2.0
// So many elements as the exchange cuts them: one tensor, in buckets, each some tiles of as many blocks as the
// device's cache is good for, with the arrays that kernels read. Rank 0 of 2 has them.
#pragma once

#include <cstdint>

#include "bench.hpp"
#include "device/mirror.hpp"
#include "exchange/layout.hpp"

namespace onebit::gpu_bench {

// How a pass over the model is called: tile by tile, as the exchange does, or in one launch, which tells the kernels from what
// launching them costs. What lies between two passes, messages and means, is in arrays as large as the model; or, as in a step,
// in memory for one tile, which stays in the cache.
enum class Calls { by_tile, by_tile_in_cache, at_once };

class Cut {
 public:
  Cut(Bench& bench, const Compressor& compressor, int64_t elements, Calls calls);

  // f(bucket, tile), in order. For all of them together.
  template <class F>
  void each_tile(F&& f) const {
    for (const Bucket& bucket : layout.buckets)
      for (const TileRange& tile : bucket.tiles) f(bucket, tile);
  }
  onebit_batch batch(const Bucket& bucket, const TileRange& tile) const;
  // A tile's part of an array that lies between two passes.
  float* at(const Buffer& values, const TileRange& tile) const { return values.as<float>() + (in_cache() ? 0 : tile.base); }
  // Elements that such an array has.
  size_t extent() const { return static_cast<size_t>(in_cache() ? layout.largest_tile : layout.flat); }
  // Where a bucket's payload begins in one for all.
  int64_t payload_of(const Bucket& bucket) const { return offsets_[static_cast<size_t>(&bucket - layout.buckets.data())]; }
  int64_t payload_bytes() const { return offsets_.back(); }

  Layout layout;

 private:
  bool in_cache() const { return calls_ == Calls::by_tile_in_cache; }

  Calls calls_;
  const onebit_stream* stream_;
  Mirror pieces_;
  std::vector<int64_t> offsets_;
};

}  // namespace onebit::gpu_bench
