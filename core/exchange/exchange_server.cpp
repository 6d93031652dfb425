// SPDX-License-Identifier: Apache-2.0
// The server's role in a round: the mean of the own chunk over all ranks, encoded again with the server error.
#include <cstring>

#include "exchange/exchange.hpp"
#include "exchange/exchange_runs.hpp"

namespace onebit {

void Exchange::serve(size_t b) {
  if (layout_.options().ranks == 1) return;
  for (size_t r = 0; r < round_count_; ++r) {
    const Round& round = rounds_[r];
    Flight& under_way = flight(round, b);
    wait(communicator_, under_way.pending, b);
    serve_chunk(round, b);
    const Wire& on_wire = wire(round, layout_.buckets[b]);
    std::byte* all = gathered(round, b);
    communicator_.enter(stage_);
    arrival(round, b).pending = communicator_.all_gather(
        all + on_wire.parts[static_cast<size_t>(layout_.options().rank)].offset, all, chunks(on_wire), call(b));
  }
}

void Exchange::serve_chunk(const Round& round, size_t b) {
  const Lap lap(timings_.serve, mark("serve", b));
  const Bucket& bucket = layout_.buckets[b];
  if (wide(round)) measure_served_spans(round, b);
  std::byte* out = gathered(round, b) + wire(round, bucket).parts[static_cast<size_t>(layout_.options().rank)].offset;
  workers_.run(static_cast<int64_t>(bucket.served_tiles.size()), [&](int worker, int64_t t) {
    serve_tile(round, b, bucket.served_tiles[static_cast<size_t>(t)], out, scratch_[static_cast<size_t>(worker)]);
  });
}

void Exchange::serve_tile(const Round& round, size_t b, const TileRange& tile, std::byte* out, const Scratch& scratch) {
  const Bucket& bucket = layout_.buckets[b];
  const Wire& on_wire = wire(round, bucket);
  const bool coded = &codec(round, tile) == compressor_;
  const Errors errors = coded ? server_errors(tile) : Errors();
  const onebit_part& own = on_wire.parts[static_cast<size_t>(layout_.options().rank)];
  const std::byte* const before = kept(round, b) == nullptr ? nullptr : kept(round, b) + own.offset;
  if (coded && wide(round)) spread(bucket.server_spans, tile, scratch.statistics);
  for_runs(on_wire.served, tile, [&](const TileRange& run, bool absent) {
    if (absent && !begins(round)) return fill(round, on_wire.served, run, before, out);
    average(round, b, run, scratch.mean);
    encode(round, on_wire.served, run, scratch.mean, errors, scratch, out);
  });
  keep_on_device(on_wire.served, tile, own.bytes, before, out);
}

// Ranks (or machines) 0 to n-1, in this order. fp32 values are added first and divided once; codes carry the weight 1/n in
// their scale.
void Exchange::average(const Round& round, size_t b, const TileRange& tile, float* mean) {
  const Wire& on_wire = wire(round, layout_.buckets[b]);
  const Compressor& with = codec(round, tile);
  const onebit_batch pieces = batch(on_wire.served, tile);
  const std::byte* incoming = flight(round, b).incoming.bytes();
  const auto ranks = static_cast<float>(layout_.machines());
  const bool coded = &with == compressor_;
  for (size_t rank = 0; rank < on_wire.incoming.size(); ++rank)
    with.decode(pieces, incoming + on_wire.incoming[rank].offset, coded ? 1.0F / ranks : 1.0F, rank > 0, mean);
  if (!coded) divide(on_wire.served, tile, mean, layout_.machines());
}

void Exchange::measure_served_spans(const Round& round, size_t b) {
  const Bucket& bucket = layout_.buckets[b];
  const auto width = static_cast<size_t>(description_.statistics);
  workers_.run(static_cast<int64_t>(bucket.served_tiles.size()), [&](int worker, int64_t t) {
    const TileRange& tile = bucket.served_tiles[static_cast<size_t>(t)];
    const Scratch& scratch = scratch_[static_cast<size_t>(worker)];
    if (tile.raw) return;
    const std::vector<onebit_piece>& pieces = wire(round, bucket).served;
    const Errors errors = server_errors(tile);
    const auto first = static_cast<size_t>(bucket.server_spans.ordinal[static_cast<size_t>(tile.first)]);
    double* const statistics = block_statistics_.as<double>() + first * width;
    for_runs(pieces, tile, [&](const TileRange& run, bool absent) {
      if (absent && !begins(round)) return clear_statistics(pieces, run, statistics);
      average(round, b, run, scratch.mean);
      compressor_->measure(batch(pieces, run), scratch.mean, seen_errors(pieces, run, errors, scratch), statistics);
    });
    if (device_ != nullptr && !begins(round)) clear_statistics(pieces, tile, statistics);
  });
  fold(bucket.server_spans);
}

}  // namespace onebit
