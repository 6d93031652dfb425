#include "cut.hpp"

namespace onebit::gpu_bench {
namespace {

LayoutOptions options_for(const Device& device, const Compressor& compressor) {
  LayoutOptions options;
  options.ranks = 2;
  options.block = compressor.describe().block;
  options.span = compressor.describe().span;
  options.tile = device.tile_elements();
  options.payload_size = [&compressor](int64_t count) { return compressor.payload_size(count); };
  return options;
}

}  // namespace

Cut::Cut(Device& device, MemoryMeter& meter, const Compressor& compressor, int64_t elements)
    : layout({elements}, options_for(device, compressor)), stream_(device.stream()), offsets_{0} {
  for (const Bucket& bucket : layout.buckets) {
    pieces_.add(bucket.compressed.pieces);
    offsets_.push_back(offsets_.back() + bucket.compressed.bytes);
  }
  pieces_.upload(meter);
}

onebit_batch Cut::batch(const Bucket& bucket, const TileRange& tile) const {
  const std::vector<onebit_piece>& pieces = bucket.compressed.pieces;
  return {sizeof(onebit_batch),
          static_cast<size_t>(tile.count),
          pieces.data() + tile.first,
          pieces_.of(pieces) + tile.first,
          1,
          0,
          nullptr,
          stream_};
}

}  // namespace onebit::gpu_bench
