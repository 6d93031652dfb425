// SPDX-License-Identifier: Apache-2.0
#include "cut.hpp"

namespace onebit::gpu_bench {
namespace {

LayoutOptions options_for(const Bench& bench, const Compressor& compressor, int64_t elements, Calls calls) {
  LayoutOptions options;
  options.ranks = 2;
  options.block = compressor.describe().block;
  options.span = compressor.describe().span;
  options.tile = bench.device().tile_elements();
  options.bucket_bytes = bench.settings().bucket_bytes;
  if (calls == Calls::at_once) {
    options.tile = elements;
    options.bucket_bytes = (elements + options.block) * static_cast<int64_t>(sizeof(float));
  }
  options.payload_size = [&compressor](int64_t count) { return compressor.payload_size(count); };
  return options;
}

}  // namespace

Cut::Cut(Bench& bench, const Compressor& compressor, int64_t elements, Calls calls)
    : layout({elements}, options_for(bench, compressor, elements, calls)),
      calls_(calls),
      stream_(bench.device().stream()),
      offsets_{0} {
  for (const Bucket& bucket : layout.buckets) {
    pieces_.add(bucket.compressed.pieces);
    offsets_.push_back(offsets_.back() + bucket.compressed.bytes);
  }
  pieces_.upload(bench.meter());
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
