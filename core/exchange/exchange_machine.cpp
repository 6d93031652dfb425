// SPDX-License-Identifier: Apache-2.0
// The part of a round that runs inside a machine: before, each rank hands its message out by shards; after, the shards'
// payloads are gathered. All of it is dense, in fp32, and counted apart.
#include <algorithm>

#include "exchange/exchange.hpp"
#include "exchange/exchange_runs.hpp"

namespace onebit {

void Exchange::prepare_passages(const Round& round) {
  int64_t whole = 0, shard = 0;
  for (const Bucket& bucket : layout_.buckets) {
    whole = std::max(whole, bucket.local.bytes);
    shard = std::max(shard, bucket.local.arrivals[0].bytes);
  }
  const auto arrivals = static_cast<size_t>(shard * layout_.options().locals);
  for (size_t i = 0; i < std::min(size_t{2}, layout_.buckets.size()); ++i) {
    Passage& passage = passages_[static_cast<size_t>(round.index)][i];
    if (passage.messages.size() > 0) continue;
    passage.messages = Buffer(meter_, static_cast<size_t>(whole));
    passage.arrivals = Buffer(meter_, arrivals);
  }
}

void Exchange::share(size_t b) {
  const Bucket& bucket = layout_.buckets[b];
  for (size_t r = 0; r < round_count_; ++r) {
    const Round& round = rounds_[r];
    Passage& under_way = passage(round, b);
    {
      const Lap lap(timings_.send, mark("share", b));
      workers_.run(static_cast<int64_t>(bucket.tiles.size()), [&](int worker, int64_t t) {
        const TileRange& tile = bucket.tiles[static_cast<size_t>(t)];
        const Scratch& scratch = scratch_[static_cast<size_t>(worker)];
        for_runs(bucket.local.pieces, tile, [&](const TileRange& run, bool absent) {
          if (absent && !begins(round)) return;  // whatever stands there is sent, and read by nobody
          write_message(round, b, run, scratch);
          raw_codec_->encode(batch(bucket.local.pieces, run), scratch.message, nullptr, nullptr, nullptr,
                             under_way.messages.bytes());
        });
      });
    }
    under_way.pending = inside_->all_to_all(under_way.messages.bytes(), bucket.local.shards.data(), under_way.arrivals.bytes(),
                                            bucket.local.arrivals.data(), call(b));
  }
}

// What this machine has to say: the mean of a tile of the own shard, ranks in order.
void Exchange::average_inside(const Round& round, size_t b, const TileRange& tile, float* mean) {
  const Wire& local = layout_.buckets[b].local;
  const onebit_batch pieces = batch(local.sharded, tile);
  const std::byte* arrived = passage(round, b).arrivals.bytes();
  for (size_t rank = 0; rank < local.arrivals.size(); ++rank)
    raw_codec_->decode(pieces, arrived + local.arrivals[rank].offset, 1.0F, rank > 0, mean);
  divide(local.sharded, tile, mean, static_cast<int>(local.arrivals.size()));
}

void Exchange::pass_on(size_t b) {
  for (size_t r = 0; r < round_count_; ++r) {
    const Round& round = rounds_[r];
    wait(communicator_, arrival(round, b).pending, b);
    const std::vector<onebit_part>& shards = wire(round, layout_.buckets[b]).shards;
    std::byte* all = gathered(round, b);
    arrival(round, b).pending =
        inside_->all_gather(all + shards[static_cast<size_t>(layout_.local())].offset, all, shards.data(), call(b));
  }
}

}  // namespace onebit
