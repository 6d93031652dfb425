// So many elements as the exchange cuts them: one tensor, in the default buckets, each some tiles of as many blocks as the
// device's cache is good for, with the arrays that kernels read. Rank 0 of 2 has them.
#pragma once

#include <cstdint>

#include "buffer.hpp"
#include "device.hpp"
#include "layout.hpp"
#include "mirror.hpp"

namespace onebit::gpu_bench {

// Where a pass finds what lies between two passes: in arrays as large as the model, or, as in a step, in memory for one tile,
// which stays in the cache.
enum class Between { in_memory, in_cache };

class Cut {
 public:
  Cut(Device& device, MemoryMeter& meter, const Compressor& compressor, int64_t elements);

  // f(bucket, tile), in order. For all of them together.
  template <class F>
  void each_tile(F&& f) const {
    for (const Bucket& bucket : layout.buckets)
      for (const TileRange& tile : bucket.tiles) f(bucket, tile);
  }
  onebit_batch batch(const Bucket& bucket, const TileRange& tile) const;
  // Of an array of values, a tile's part.
  static float* at(const Buffer& values, const TileRange& tile, Between between) {
    return values.as<float>() + (between == Between::in_memory ? tile.base : 0);
  }
  // Elements that such an array has.
  size_t extent(Between between) const {
    return static_cast<size_t>(between == Between::in_memory ? layout.flat : layout.largest_tile);
  }
  // Where a bucket's payload begins in one for all.
  int64_t payload_of(const Bucket& bucket) const { return offsets_[static_cast<size_t>(&bucket - layout.buckets.data())]; }
  int64_t payload_bytes() const { return offsets_.back(); }

  Layout layout;

 private:
  const onebit_stream* stream_;
  Mirror pieces_;
  std::vector<int64_t> offsets_;
};

}  // namespace onebit::gpu_bench
