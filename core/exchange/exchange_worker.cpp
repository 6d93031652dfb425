// SPDX-License-Identifier: Apache-2.0
// The worker's role in a round: what a rank sends of its own, and what it does with the mean that comes back.
#include <algorithm>

#include "exchange/exchange.hpp"
#include "exchange/exchange_runs.hpp"

namespace onebit {

void Exchange::send(size_t b) {
  const Bucket& bucket = layout_.buckets[b];
  for (size_t r = 0; r < round_count_; ++r) {
    const Round& round = rounds_[r];
    if (layout_.options().ranks == 1) {  // the mean of one is itself
      encode_messages(round, b, gathered(round, b));
      continue;
    }
    Flight& under_way = flight(round, b);
    if (inside_ != nullptr) wait(*inside_, passage(round, b).pending, b);
    encode_messages(round, b, under_way.payload.bytes());
    communicator_.enter(stage_);
    under_way.pending = communicator_.all_to_all(under_way.payload.bytes(), chunks(wire(round, bucket)),
                                                 under_way.incoming.bytes(), wire(round, bucket).incoming.data(), call(b));
  }
}

void Exchange::encode_messages(const Round& round, size_t b, std::byte* payload) {
  const Lap lap(timings_.send, mark("send", b));
  if (wide(round)) {
    if (scanning_ && device_ == nullptr && round.index == 0) scan_bucket(b);
    measure_spans(round, b);
  }
  const Bucket& bucket = layout_.buckets[b];
  if (inside_ != nullptr) payload += wire(round, bucket).shards[static_cast<size_t>(layout_.local())].offset;
  const std::vector<TileRange>& tiles = inside_ == nullptr ? bucket.tiles : bucket.shard_tiles;
  workers_.run(static_cast<int64_t>(tiles.size()),
               [&](int worker, int64_t t) { encode_tile(round, b, tiles[static_cast<size_t>(t)], payload, worker); });
}

void Exchange::encode_tile(const Round& round, size_t b, const TileRange& tile, std::byte* payload, int worker) {
  const Scratch& scratch = scratch_[static_cast<size_t>(worker)];
  const Bucket& bucket = layout_.buckets[b];
  const Wire& on_wire = wire(round, bucket);
  const std::vector<onebit_piece>& pieces = inside_ == nullptr ? on_wire.pieces : on_wire.sharded;
  const bool coded = &codec(round, tile) == compressor_;
  const Errors errors = coded ? worker_errors(tile) : Errors();
  if (scanning_ && device_ == nullptr && round.index == 0 && !wide(round)) scan_tile(b, tile, worker);
  const std::byte* const before = layout_.options().ranks == 1 ? kept(round, b) : nullptr;  // its own server
  if (coded && wide(round)) spread(bucket.worker_spans, tile, scratch.statistics);
  for_runs(pieces, tile, [&](const TileRange& run, bool absent) {
    if (absent && !begins(round)) return fill(round, pieces, run, before, payload);
    inside_ == nullptr ? write_message(round, b, run, scratch) : average_inside(round, b, run, scratch.message);
    encode(round, pieces, run, scratch.message, errors, scratch, payload);
  });
  keep_on_device(pieces, tile, on_wire.bytes, before, payload);
}

// For scales wider than a block, the messages are produced once to be measured and once more to be encoded: that costs
// arithmetic, but no memory the size of the model.
void Exchange::measure_spans(const Round& round, size_t b) {
  const Bucket& bucket = layout_.buckets[b];
  const auto width = static_cast<size_t>(description_.statistics);
  workers_.run(static_cast<int64_t>(bucket.tiles.size()), [&](int worker, int64_t t) {
    const TileRange& tile = bucket.tiles[static_cast<size_t>(t)];
    const Scratch& scratch = scratch_[static_cast<size_t>(worker)];
    if (tile.raw) return;
    const std::vector<onebit_piece>& pieces = wire(round, bucket).pieces;
    const Errors errors = worker_errors(tile);
    const auto first = static_cast<size_t>(bucket.worker_spans.ordinal[static_cast<size_t>(tile.first)]);
    double* const statistics = block_statistics_.as<double>() + first * width;
    for_runs(pieces, tile, [&](const TileRange& run, bool absent) {
      if (absent && !begins(round)) return clear_statistics(pieces, run, statistics);
      write_message(round, b, run, scratch);
      compressor_->measure(batch(pieces, run), scratch.message, seen_errors(pieces, run, errors, scratch), statistics);
    });
    if (device_ != nullptr && !begins(round)) clear_statistics(pieces, tile, statistics);
  });
  fold(bucket.worker_spans);
}

void Exchange::fold(const Spans& spans) {
  const onebit_stream* const stream = device_ == nullptr ? nullptr : device_->stream();
  const onebit_folding folding = {sizeof(onebit_folding),   spans.ranges.size(), spans.ranges.data(),
                                  mirror_.of(spans.ranges), opening_.skip,       stream};
  compressor_->fold(folding, block_statistics_.as<double>(), span_statistics_.as<double>());
}

// Each block of a tile gets the statistics of its span.
void Exchange::spread(const Spans& spans, const TileRange& tile, double* statistics) const {
  const auto width = static_cast<size_t>(description_.statistics);
  if (device_ != nullptr)
    return device_->spread(span_statistics_.as<double>(), mirror_.of(spans.of_block) + tile.first, tile.count,
                           description_.statistics, statistics, opening_.skip);
  for (int64_t k = 0; k < tile.count; ++k) {
    const auto span = static_cast<size_t>(spans.of_block[static_cast<size_t>(tile.first + k)]);
    std::copy_n(span_statistics_.as<double>() + span * width, width, statistics + static_cast<size_t>(k) * width);
  }
}

void Exchange::add_carried(const Round& round, size_t b, const TileRange& range, float* message) const {
  if (round.kind == RoundKind::dense || !carried_.any()) return;
  onebit_batch pieces = batch(carried_.pieces(b), range);
  if (device_ != nullptr) pieces.device_pieces = carried_.on_device(b) + range.first;
  raw_codec_->decode(pieces, carried_.values().bytes(), 1.0F, true, message);
}

// No codec has to bear what can't be used; the step will be skipped.
void Exchange::write_message(const Round& round, size_t b, const TileRange& range, const Scratch& scratch) {
  if (spoilt_) return static_cast<void>(std::fill_n(scratch.message, range.extent, 0.0F));
  produce(round, b, range, scratch);
  if (scanning_ && device_ != nullptr)
    device_->silence(opening_.scanned, opening_.gradient_scale, scratch.message, range.extent);
}

void Exchange::produce(const Round& round, size_t b, const TileRange& range, const Scratch& scratch) {
  const Bucket& bucket = layout_.buckets[b];
  onebit_tile tile = tile_of(bucket, range, begins(round));
  if (tile.device_blocks != nullptr && may_be_absent(bucket.dense.pieces, range))
    device_->zero(scratch.message, static_cast<size_t>(range.extent) * sizeof(float));
  if (round.of == Of::message) {
    tile.previous = decode_previous(b, range, scratch);
    tile.message = scratch.message;
    optimizer_.produce(*step_, round.index, tile);
    return add_carried(round, b, range, scratch.message);
  }
  if (device_ != nullptr) {
    device_->scale_gradients(tile, scratch.message);
    return add_carried(round, b, range, scratch.message);
  }
  const float scale = *opening_.gradient_scale;
  for (size_t k = 0; k < tile.block_count; ++k) {
    const onebit_block& block = tile.blocks[k];
    const float* __restrict from = block.gradient;
    float* __restrict to = scratch.message + block.packed;
    for (int64_t i = 0; i < block.count; ++i) to[i] = from[i] * scale;
  }
  add_carried(round, b, range, scratch.message);
}

// NULL before the first retained round.
const float* Exchange::decode_previous(size_t b, const TileRange& range, const Scratch& scratch) {
  if (const float* const restored = retained_.restored(); restored != nullptr) return restored + range.base;
  if (!retained_.kind()) return nullptr;
  const Round kept{*retained_.kind(), Of::message, true, 0};
  codec(kept, range)
      .decode(batch(wire(kept, layout_.buckets[b]).pieces, range), retained_.current(b), 1.0F, false, scratch.previous);
  return scratch.previous;
}

void Exchange::receive(size_t b) {
  if (layout_.options().ranks > 1)
    for (size_t r = 0; r < round_count_; ++r)
      wait(inside_ == nullptr ? communicator_ : *inside_, arrival(rounds_[r], b).pending, b);
  const Lap lap(timings_.receive, mark("receive", b));
  if (ahead_ && opening_.absent != nullptr) put_back(b);
  const std::vector<TileRange>& tiles = layout_.buckets[b].tiles;
  workers_.run(static_cast<int64_t>(tiles.size()), [&](int worker, int64_t t) {
    receive_tile(b, tiles[static_cast<size_t>(t)], scratch_[static_cast<size_t>(worker)]);
  });
}

void Exchange::receive_tile(size_t b, const TileRange& range, const Scratch& scratch) {
  const Bucket& bucket = layout_.buckets[b];
  for_runs(bucket.dense.pieces, range, [&](const TileRange& run, bool absent) {
    if (absent && !freezes_) return;
    onebit_tile tile = tile_of(bucket, run, freezes_);
    tile.mean = scratch.mean;
    if (previous_in_consume_) tile.previous = decode_previous(b, run, scratch);
    for (size_t r = 0; r < round_count_; ++r) {
      const Round& round = rounds_[r];
      codec(round, run).decode(batch(wire(round, bucket).pieces, run), gathered(round, b), 1.0F, false, scratch.mean);
      optimizer_.consume(*step_, round.index, tile);
    }
    if (rounds_in_consume_) round_masters(tile);
  });
}

}  // namespace onebit
