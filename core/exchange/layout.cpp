// SPDX-License-Identifier: Apache-2.0
#include "exchange/layout.hpp"

#include <algorithm>
#include <utility>

namespace onebit {
namespace {

constexpr int64_t vector_line = 16;  // floats in 64 bytes

int64_t align(int64_t elements) { return (elements + vector_line - 1) / vector_line * vector_line; }

// What the blocks of a tile have in common. Exempt tensors are neighbours in the flat space, and so are all others, but the
// ones are not the others'.
struct TileKind {
  bool raw, exempt;
};

// Joins neighbouring blocks to tiles: as many as fit `capacity` elements, all of one kind, a tensor whole if asked.
class TileMaker {
 public:
  TileMaker(std::vector<TileRange>& tiles, int64_t capacity, bool whole_tensors)
      : tiles_(tiles), capacity_(capacity), whole_tensors_(whole_tensors) {}

  void add(int64_t base, int64_t count, TileKind kind, int64_t tensor) {
    const bool same_tensor = whole_tensors_ && tensor == tensor_;
    TileRange* tile = tiles_.empty() ? nullptr : &tiles_.back();
    if (tile == nullptr || tile->raw != kind.raw || exempt_ != kind.exempt ||
        (!same_tensor && base + count - tile->base > capacity_)) {
      tiles_.push_back({next_, 0, base, 0, kind.raw});
      tile = &tiles_.back();
    }
    exempt_ = kind.exempt;
    tile->count += 1;
    tile->extent = base + count - tile->base;
    tensor_ = tensor;
    ++next_;
  }

 private:
  std::vector<TileRange>& tiles_;
  int64_t capacity_;
  bool whole_tensors_;
  bool exempt_ = false;
  int64_t next_ = 0, tensor_ = -1;
};

// Gives each block its place in the bucket's buffer: chunk after chunk, in block order inside a chunk.
template <class Size>
void place(Wire& wire, const std::vector<int32_t>& owner, const LayoutOptions& options, Size size) {
  wire.parts.assign(static_cast<size_t>(options.ranks), {0, 0});
  for (size_t b = 0; b < owner.size(); ++b) wire.parts[static_cast<size_t>(owner[b])].bytes += size(b);
  for (onebit_part& part : wire.parts) {
    part.offset = wire.bytes;
    wire.bytes += part.bytes;
  }
  std::vector<int64_t> next;
  for (const onebit_part& part : wire.parts) next.push_back(part.offset);
  for (size_t b = 0; b < owner.size(); ++b) {
    int64_t& at = next[static_cast<size_t>(owner[b])];
    wire.pieces[b].payload = at;
    at += size(b);
  }
  const int64_t own = wire.parts[static_cast<size_t>(options.rank)].bytes;
  for (int64_t machine = 0; machine < options.ranks / options.locals; ++machine) wire.incoming.push_back({machine * own, own});
}

// A shard is a run of neighbouring chunks.
void place_shards(Wire& wire, const LayoutOptions& options) {
  const auto machines = static_cast<size_t>(options.ranks / options.locals);
  for (size_t first = 0; first < wire.parts.size(); first += machines) {
    const onebit_part& last = wire.parts[first + machines - 1];
    wire.shards.push_back({wire.parts[first].offset, last.offset + last.bytes - wire.parts[first].offset});
  }
  const int64_t own = wire.shards[static_cast<size_t>(options.rank) / machines].bytes;
  for (int64_t local = 0; local < options.locals; ++local) wire.arrivals.push_back({local * own, own});
}

}  // namespace

Layout::Layout(const std::vector<int64_t>& tensor_elements, LayoutOptions options)
    : elements(tensor_elements), options_(std::move(options)) {
  if (options_.ranks == 1) options_.dense_type = WireType::fp32;
  for (size_t t = 0; t < elements.size(); ++t)
    flags.push_back(is_exempt(static_cast<int64_t>(t)) ? uint64_t{ONEBIT_TENSOR_DENSE} : 0);
  find_raw();
  lay_flat();
  for (const std::vector<Segment>& segments : gather()) {
    Bucket bucket;
    bucket.first_block = static_cast<int64_t>(blocks.size());
    cut(bucket, segments);
    bucket.block_count = static_cast<int64_t>(blocks.size()) - bucket.first_block;
    if (bucket.owner.empty()) assign_owners(bucket);
    make_tiles(bucket);
    make_role(bucket, options_.rank, options_.rank + 1, bucket.served_tiles, &Wire::served, served);
    if (options_.locals > 1)
      make_role(bucket, local() * machines(), (local() + 1) * machines(), bucket.shard_tiles, &Wire::sharded, shard);
    if (wide_spans()) make_spans(bucket);
    buckets.push_back(std::move(bucket));
  }
  first_block.assign(elements.size() + 1, 0);
  for (const onebit_block& block : blocks) ++first_block[static_cast<size_t>(block.tensor) + 1];
  for (size_t t = 0; t < elements.size(); ++t) first_block[t + 1] += first_block[t];
}

void Layout::lay_flat() {
  tensor_flat_.assign(elements.size(), 0);
  for (const bool exempt : {true, false}) {
    for (size_t t = 0; t < elements.size(); ++t) {
      if (is_exempt(static_cast<int64_t>(t)) != exempt) continue;
      tensor_flat_[t] = flat;
      flat += align(elements[t]);
      parameters += elements[t];
    }
    if (exempt) flat_exempt = flat;
  }
}

int64_t Layout::tile_capacity() const { return std::max({options_.tile, options_.block, vector_line}); }

void Layout::find_raw() {
  for (size_t t = 0; t < elements.size(); ++t) {
    raw_.push_back(!codes() || is_exempt(static_cast<int64_t>(t)) || elements[t] < options_.dense_below || grows(elements[t]));
    coded += raw_.back() ? 0 : elements[t];
  }
}

// Would a tensor of so many elements be larger compressed than as fp32? One of a single element would: its scale alone is as
// large. Where each rank serves a part of every tensor, the parts are what is encoded: m % n of them have an element more.
bool Layout::grows(int64_t count) const {
  const auto size = [&](int64_t elements_of_part) {
    const int64_t rest = elements_of_part % options_.block;
    const size_t whole = elements_of_part < options_.block ? 0 : options_.payload_size(options_.block);
    return elements_of_part / options_.block * static_cast<int64_t>(whole) +
           (rest == 0 ? 0 : static_cast<int64_t>(options_.payload_size(rest)));
  };
  const int64_t parts = options_.span == ONEBIT_SPAN_TENSOR ? options_.ranks : 1, larger = count % parts;
  return larger * size(count / parts + 1) + (parts - larger) * size(count / parts) > dense_bytes(WireType::fp32, count);
}

size_t Layout::compressed_size(const onebit_block& block) const {
  return is_raw(block.tensor) ? static_cast<size_t>(dense_bytes(WireType::fp32, block.count))
                              : options_.payload_size(block.count);
}

// Which elements go into which bucket. A tensor is split between buckets only at block boundaries, and not at all where
// its scale or its tiles are the whole tensor's.
std::vector<std::vector<Layout::Segment>> Layout::gather() const {
  const int64_t capacity =
      std::max(options_.bucket_bytes / static_cast<int64_t>(sizeof(float)) / options_.block, int64_t{1}) * options_.block;
  const bool whole = options_.whole_tensors || options_.span == ONEBIT_SPAN_TENSOR;
  std::vector<std::vector<Segment>> gathered;
  int64_t room = 0;
  for (size_t t = 0; t < elements.size(); ++t) {
    for (int64_t first = 0; first < elements[t];) {
      const int64_t rest = elements[t] - first;
      const int64_t fits = whole || rest <= room ? rest : room / options_.block * options_.block;
      if (gathered.empty() || fits == 0 || (whole && rest > room && room < capacity)) {
        gathered.emplace_back();
        room = capacity;
        if (!whole) continue;
      }
      gathered.back().push_back({static_cast<int64_t>(t), first, fits});
      first += fits;
      room -= std::min(room, fits);
    }
  }
  return gathered;
}

void Layout::cut_run(Bucket& bucket, int64_t tensor, int64_t first, int64_t last, int32_t owner) {
  for (; first < last; first += options_.block) {
    const int64_t count = std::min(options_.block, last - first);
    blocks.push_back({static_cast<int64_t>(blocks.size()), tensor, 0, first, tensor_flat_[static_cast<size_t>(tensor)] + first,
                      0, count, nullptr, nullptr, flags[static_cast<size_t>(tensor)]});
    if (owner >= 0) bucket.owner.push_back(owner);
  }
}

// Spans wider than a block are cut at floor(j m / n), and part j is served by rank j: blocks end there, too.
void Layout::cut(Bucket& bucket, const std::vector<Segment>& segments) {
  const int64_t n = options_.ranks;
  int64_t coded = 0, begin = 0;
  for (const Segment& s : segments) coded += is_raw(s.tensor) ? 0 : s.count;
  for (const Segment& s : segments) {
    const int64_t end = s.first + s.count;
    if (!wide_spans()) {
      cut_run(bucket, s.tensor, s.first, end, -1);
      continue;
    }
    const bool across = options_.span == ONEBIT_SPAN_BUCKET && !is_raw(s.tensor);
    const int64_t total = across ? coded : s.count, offset = across ? begin : 0;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t from = std::clamp(j * total / n - offset, int64_t{0}, s.count);
      const int64_t to = std::clamp((j + 1) * total / n - offset, int64_t{0}, s.count);
      cut_run(bucket, s.tensor, s.first + from, s.first + to, static_cast<int32_t>(j));
    }
    if (across) begin += s.count;
  }
}

// Chunk j ends at the first block boundary at or after (j + 1) / n of the bucket's compressed payload.
void Layout::assign_owners(Bucket& bucket) const {
  const onebit_block* own = blocks.data() + bucket.first_block;
  int64_t total = 0, before = 0;
  for (int64_t b = 0; b < bucket.block_count; ++b) total += static_cast<int64_t>(compressed_size(own[b]));
  for (int64_t b = 0; b < bucket.block_count; ++b) {
    bucket.owner.push_back(static_cast<int32_t>(std::min(before * options_.ranks / total, int64_t{options_.ranks} - 1)));
    before += static_cast<int64_t>(compressed_size(own[b]));
  }
}

void Layout::make_tiles(Bucket& bucket) {
  onebit_block* own = blocks.data() + bucket.first_block;
  TileMaker maker(bucket.tiles, tile_capacity(), options_.whole_tensors);
  for (int64_t b = 0; b < bucket.block_count; ++b)
    maker.add(own[b].flat, own[b].count, {is_raw(own[b].tensor), is_exempt(own[b].tensor)}, own[b].tensor);
  bucket.dense.pieces.resize(bucket.owner.size());
  for (const TileRange& tile : bucket.tiles) {
    for (int64_t k = 0; k < tile.count; ++k) {
      onebit_block& block = own[tile.first + k];
      block.packed = block.flat - tile.base;
      bucket.dense.pieces[static_cast<size_t>(tile.first + k)] = {block.packed, block.count, 0, k,
                                                                  2 * static_cast<uint64_t>(block.index)};
    }
    largest_tile = std::max(largest_tile, tile.extent);
    most_tile_blocks = std::max(most_tile_blocks, static_cast<size_t>(tile.count));
  }
  bucket.compressed.pieces = bucket.dense.pieces;
  place(bucket.dense, bucket.owner, options_, [&](size_t b) { return dense_bytes(options_.dense_type, own[b].count); });
  place(bucket.compressed, bucket.owner, options_, [&](size_t b) { return static_cast<int64_t>(compressed_size(own[b])); });
  if (options_.locals == 1) return;
  bucket.local.pieces = bucket.compressed.pieces;
  place(bucket.local, bucket.owner, options_, [&](size_t b) { return dense_bytes(WireType::fp32, own[b].count); });
  for (Wire* wire : {&bucket.dense, &bucket.compressed, &bucket.local}) place_shards(*wire, options_);
}

// The blocks of chunks [first, last), in order, in a compact space of their own: those that this rank serves, or its shard.
void Layout::make_role(Bucket& bucket, int first, int last, std::vector<TileRange>& tiles,
                       std::vector<onebit_piece> Wire::*pieces, int64_t& extent) {
  const onebit_block* own = blocks.data() + bucket.first_block;
  TileMaker maker(tiles, tile_capacity(), false);
  std::vector<size_t> mine;
  for (size_t b = 0; b < bucket.owner.size(); ++b)
    if (bucket.owner[b] >= first && bucket.owner[b] < last) mine.push_back(b);
  for (const size_t b : mine) {
    maker.add(extent, own[b].count, {is_raw(own[b].tensor), false}, own[b].tensor);
    extent += own[b].count;
  }
  for (const TileRange& tile : tiles) {
    int64_t packed = 0;
    for (int64_t k = 0; k < tile.count; ++k) {
      const size_t b = mine[static_cast<size_t>(tile.first + k)];
      for (Wire* wire : {&bucket.dense, &bucket.compressed, &bucket.local}) {
        if (wire->pieces.empty()) continue;
        onebit_piece piece = wire->pieces[b];
        piece.first = packed;
        piece.statistic = k;
        piece.payload -= wire->parts[static_cast<size_t>(first)].offset;
        if (pieces == &Wire::served) ++piece.key;  // what a server draws has nothing to do with what its worker drew
        (wire->*pieces).push_back(piece);
      }
      packed += own[b].count;
    }
    largest_tile = std::max(largest_tile, tile.extent);
    most_tile_blocks = std::max(most_tile_blocks, static_cast<size_t>(tile.count));
  }
}

void Layout::make_spans(Bucket& bucket) const {
  const onebit_block* own = blocks.data() + bucket.first_block;
  int64_t last_tensor[2] = {-1, -1};
  for (size_t b = 0; b < bucket.owner.size(); ++b) {
    for (const bool server : {false, true}) {
      if (server && bucket.owner[b] != options_.rank) continue;
      Spans& spans = server ? bucket.server_spans : bucket.worker_spans;
      if (is_raw(own[b].tensor)) {
        spans.of_block.push_back(-1);
        spans.ordinal.push_back(-1);
        continue;
      }
      const bool same = !spans.ranges.empty() && (options_.span == ONEBIT_SPAN_BUCKET || own[b].tensor == last_tensor[server]);
      if (!same) spans.ranges.push_back({spans.coded, 0});
      last_tensor[server] = own[b].tensor;
      ++spans.ranges.back().count;
      spans.of_block.push_back(static_cast<int32_t>(spans.ranges.size()) - 1);
      spans.ordinal.push_back(spans.coded++);
    }
  }
}

}  // namespace onebit
