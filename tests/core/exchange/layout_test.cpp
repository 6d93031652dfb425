// SPDX-License-Identifier: Apache-2.0
// Layout: every element is in exactly one block, every block has one place on the wire and one server, whatever the cut.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "exchange/layout.hpp"

using namespace onebit;

namespace {

size_t sign_bits(int64_t count) { return static_cast<size_t>(4 + (count + 31) / 32 * 4); }

LayoutOptions options(int rank, int ranks, int32_t span, int64_t bucket_bytes = 25'000'000) {
  LayoutOptions o;
  o.rank = rank;
  o.ranks = ranks;
  o.span = span;
  o.bucket_bytes = bucket_bytes;
  o.payload_size = sign_bits;
  return o;
}

void check_blocks(const Layout& layout) {
  std::vector<int64_t> seen(layout.elements.size());
  int64_t next = 0, last_tensor = 0;
  for (const onebit_block& block : layout.blocks) {
    const auto tensor = static_cast<size_t>(block.tensor);
    REQUIRE(block.index == next++);
    REQUIRE(block.tensor >= last_tensor);
    REQUIRE(block.first == seen[tensor]);
    REQUIRE(block.count > 0);
    REQUIRE(block.count <= layout.options().block);
    seen[tensor] += block.count;
    last_tensor = block.tensor;
  }
  REQUIRE(seen == layout.elements);
  for (size_t t = 0; t < layout.elements.size(); ++t)
    for (int64_t b = layout.first_block[t]; b < layout.first_block[t + 1]; ++b)
      REQUIRE(layout.blocks[static_cast<size_t>(b)].tensor == static_cast<int64_t>(t));
}

bool is_exempt(const Layout& layout, const onebit_block& block) {
  return !layout.options().exempt.empty() && layout.options().exempt[static_cast<size_t>(block.tensor)];
}
// Of one element, sign_bits makes 8 bytes. Where every rank serves a part of every tensor, so it is with each part.
bool would_grow(const Layout& layout, int64_t elements) {
  const int64_t parts = layout.options().span == ONEBIT_SPAN_TENSOR ? layout.options().ranks : 1;
  int64_t bytes = 0;
  for (int64_t j = 0; j < parts; ++j)
    for (int64_t left = (j + 1) * elements / parts - j * elements / parts; left > 0; left -= layout.options().block)
      bytes += static_cast<int64_t>(sign_bits(std::min(left, layout.options().block)));
  return bytes > 4 * elements;
}
bool is_raw(const Layout& layout, const onebit_block& block) {
  const int64_t elements = layout.elements[static_cast<size_t>(block.tensor)];
  return is_exempt(layout, block) || layout.options().ranks == 1 || elements < layout.options().dense_below ||
         would_grow(layout, elements);
}

// Every element has a place of its own in the flat space, exempt tensors before all others.
void check_flat(const Layout& layout) {
  std::vector<bool> taken(static_cast<size_t>(layout.flat));
  for (const onebit_block& block : layout.blocks) {
    REQUIRE(block.flat >= 0);
    REQUIRE(block.flat + block.count <= layout.flat);
    REQUIRE((is_exempt(layout, block) ? block.flat + block.count <= layout.flat_exempt : block.flat >= layout.flat_exempt));
    const auto begin = taken.begin() + block.flat, end = begin + block.count;
    REQUIRE(std::find(begin, end, true) == end);
    std::fill(begin, end, true);
    if (block.first == 0) REQUIRE(block.flat % 16 == 0);
  }
}

// A worker's tile is one run of the flat space, but for what aligns tensors, and of one kind.
void check_runs(const Bucket& bucket, const Layout& layout) {
  for (const TileRange& tile : bucket.tiles) {
    const onebit_block* blocks = layout.blocks.data() + bucket.first_block + tile.first;
    int64_t at = tile.base;
    for (int64_t k = 0; k < tile.count; ++k) {
      REQUIRE(blocks[k].flat >= at);
      REQUIRE(blocks[k].flat < at + 16);
      REQUIRE(blocks[k].packed == blocks[k].flat - tile.base);
      REQUIRE(is_exempt(layout, blocks[k]) == is_exempt(layout, blocks[0]));
      REQUIRE(is_raw(layout, blocks[k]) == tile.raw);
      at = blocks[k].flat + blocks[k].count;
    }
    REQUIRE(at == tile.base + tile.extent);
  }
}

// Pieces tile the buffer without a gap, chunk after chunk.
void check_wire(const Wire& wire, const Bucket& bucket, const Layout& layout, bool compressed) {
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (size_t b = 0; b < wire.pieces.size(); ++b) {
    const onebit_block& block = layout.blocks[static_cast<size_t>(bucket.first_block) + b];
    const int64_t bytes = compressed && !is_raw(layout, block) ? static_cast<int64_t>(sign_bits(block.count)) : 4 * block.count;
    const onebit_part& part = wire.parts[static_cast<size_t>(bucket.owner[b])];
    REQUIRE(wire.pieces[b].payload >= part.offset);
    REQUIRE(wire.pieces[b].payload + bytes <= part.offset + part.bytes);
    REQUIRE(wire.pieces[b].count == block.count);
    ranges.emplace_back(wire.pieces[b].payload, bytes);
  }
  std::sort(ranges.begin(), ranges.end());
  int64_t at = 0;
  for (const auto& [first, bytes] : ranges) {
    REQUIRE(first == at);
    at += bytes;
  }
  REQUIRE(at == wire.bytes);
}

void check_tiles(const std::vector<TileRange>& tiles, size_t blocks, int64_t largest) {
  int64_t next = 0;
  for (const TileRange& tile : tiles) {
    REQUIRE(tile.first == next);
    REQUIRE(tile.count > 0);
    REQUIRE(tile.extent <= largest);
    next += tile.count;
  }
  REQUIRE(next == static_cast<int64_t>(blocks));
}

// A shard is as many neighbouring chunks as there are machines; its own blocks are cut into tiles of their own.
void check_shards(const Layout& layout) {
  int64_t own = 0;
  for (const Bucket& bucket : layout.buckets) {
    const auto machines = static_cast<size_t>(layout.machines()), local = static_cast<size_t>(layout.local());
    for (const Wire* wire : {&bucket.dense, &bucket.compressed, &bucket.local}) {
      REQUIRE(wire->shards.size() == static_cast<size_t>(layout.options().locals));
      int64_t at = 0;
      for (size_t s = 0; s < wire->shards.size(); ++s) {
        REQUIRE(wire->shards[s].offset == at);
        for (size_t m = 0; m < machines; ++m) at += wire->parts[s * machines + m].bytes;
        REQUIRE(wire->shards[s].bytes == at - wire->shards[s].offset);
        REQUIRE(wire->arrivals[s].bytes == wire->shards[local].bytes);
      }
      REQUIRE(at == wire->bytes);
      REQUIRE(wire->incoming.size() == machines);
      REQUIRE(wire->sharded.size() >= wire->served.size());
    }
    check_wire(bucket.local, bucket, layout, false);
    check_tiles(bucket.shard_tiles, bucket.local.sharded.size(), layout.largest_tile);
    for (const onebit_piece& piece : bucket.local.sharded) own += piece.count;
  }
  REQUIRE(own == layout.shard);
}

void check(const Layout& layout) {
  check_blocks(layout);
  check_flat(layout);
  int64_t coded = 0;
  for (const onebit_block& block : layout.blocks) coded += is_raw(layout, block) ? 0 : block.count;
  REQUIRE(layout.coded == coded);
  int64_t first = 0;
  for (const Bucket& bucket : layout.buckets) {
    REQUIRE(bucket.first_block == first);
    first += bucket.block_count;
    check_wire(bucket.dense, bucket, layout, false);
    check_wire(bucket.compressed, bucket, layout, true);
    const auto mine = std::count(bucket.owner.begin(), bucket.owner.end(), layout.options().rank);
    check_tiles(bucket.tiles, bucket.owner.size(), layout.largest_tile);
    check_runs(bucket, layout);
    check_tiles(bucket.served_tiles, static_cast<size_t>(mine), layout.largest_tile);
  }
  REQUIRE(first == static_cast<int64_t>(layout.blocks.size()));
  if (layout.options().locals > 1) check_shards(layout);
}

}  // namespace

TEST_CASE("random models are cut without loss, for every span and number of ranks") {
  std::mt19937 random(7);
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<int64_t> elements;
    for (int t = 0; t < 1 + trial % 17; ++t)
      elements.push_back(static_cast<int64_t>(random() % 3 == 0 ? random() % 40 : random() % 30000));
    for (const int32_t span : {ONEBIT_SPAN_BLOCK, ONEBIT_SPAN_TENSOR, ONEBIT_SPAN_BUCKET}) {
      const int ranks = 1 + static_cast<int>(random() % 8);
      LayoutOptions o = options(static_cast<int>(random() % static_cast<unsigned>(ranks)), ranks, span, 4096 << (random() % 6));
      o.dense_below = trial % 3 == 0 ? 100 : 0;
      o.whole_tensors = trial % 5 == 0;
      check(Layout(elements, o));
      for (size_t t = 0; t < elements.size(); ++t) o.exempt.push_back(random() % (1 + trial % 4) == 0);
      check(Layout(elements, o));
      if (span != ONEBIT_SPAN_BLOCK || ranks % 2 != 0) continue;
      o.locals = ranks % 4 == 0 && trial % 2 == 0 ? 4 : 2;
      check(Layout(elements, o));
    }
  }
}

TEST_CASE("span = block: chunk j ends at the first block boundary at or after (j + 1) / n of the payload") {
  const Layout layout({4096 * 5 + 10}, options(0, 2, ONEBIT_SPAN_BLOCK));
  CHECK(layout.buckets.size() == 1);
  CHECK(layout.buckets[0].owner == std::vector<int32_t>{0, 0, 0, 1, 1, 1});
}

TEST_CASE("span = tensor: element floor(j m / n) begins part j") {
  const Layout layout({10, 9000}, options(1, 4, ONEBIT_SPAN_TENSOR));
  std::vector<int64_t> starts;
  for (size_t b = 0; b < layout.blocks.size(); ++b)
    if (b == 0 || layout.buckets[0].owner[b] != layout.buckets[0].owner[b - 1]) starts.push_back(layout.blocks[b].first);
  CHECK(starts == std::vector<int64_t>{0, 2, 5, 7, 0, 2250, 4500, 6750});
  CHECK(layout.served == 3 + 2250);
  CHECK(layout.buckets[0].worker_spans.ranges.size() == 2);
  CHECK(layout.buckets[0].server_spans.ranges.size() == 2);
}

TEST_CASE("span = bucket: one scale over all coded tensors, cut across tensors") {
  LayoutOptions o = options(0, 2, ONEBIT_SPAN_BUCKET);
  o.dense_below = 8;
  const Layout layout({100, 5, 50}, o);
  CHECK(layout.buckets[0].worker_spans.ranges.size() == 1);
  CHECK(layout.buckets[0].worker_spans.coded == 3);  // 75 + 25, and 50
  std::vector<int64_t> counts;
  for (const onebit_block& block : layout.blocks) counts.push_back(block.count);
  CHECK(counts == std::vector<int64_t>{75, 25, 2, 3, 50});
}

TEST_CASE("whole tensors are one tile and never straddle a bucket") {
  LayoutOptions o = options(0, 2, ONEBIT_SPAN_BLOCK, 4 * 4096);
  o.whole_tensors = true;
  const Layout layout({10'000, 20'000, 3}, o);
  CHECK(layout.buckets.size() == 3);
  CHECK(layout.buckets[1].tiles.size() == 1);
  CHECK(layout.largest_tile == 20'000);
}

TEST_CASE("exempt tensors come first in the flat space, stay in their place among the blocks and travel as fp32") {
  LayoutOptions o = options(0, 2, ONEBIT_SPAN_BLOCK);
  o.dense_below = 20;
  o.exempt = {false, true, false, false, true};
  const Layout layout({100, 40, 10, 50, 30}, o);
  std::vector<int64_t> flat;
  for (const onebit_block& block : layout.blocks) flat.push_back(block.flat);
  CHECK(flat == std::vector<int64_t>{80, 0, 192, 208, 48});
  CHECK(layout.flat_exempt == 80);
  CHECK(layout.flat == 272);
  CHECK(layout.buckets[0].tiles.size() == 5);  // the third is raw like the second, but lies elsewhere
  CHECK(layout.buckets[0].compressed.bytes == sign_bits(100) + 4 * 40 + 4 * 10 + sign_bits(50) + 4 * 30);
  o.exempt = {};
  CHECK(Layout({100, 40, 10, 50, 30}, o).flat_exempt == 0);
}

TEST_CASE("ten thousand tensors and tensors without elements") {
  std::vector<int64_t> elements;
  for (int t = 0; t < 10'000; ++t) elements.push_back(t % 7);
  check(Layout(elements, options(2, 3, ONEBIT_SPAN_BLOCK)));
  const Layout empty({0, 0}, options(0, 2, ONEBIT_SPAN_BLOCK));
  CHECK(empty.buckets.empty());
  CHECK(empty.first_block == std::vector<int64_t>{0, 0, 0});
}
