// SPDX-License-Identifier: Apache-2.0
// Layout: how a model is cut. Tensors are cut into blocks (the unit of scales, partial sums and parallel work), neighbouring
// blocks are gathered into tiles (what one plugin call works on, in cache) and buckets (what one collective moves); each bucket
// has one chunk per rank, the blocks that this rank serves; where ranks share machines, neighbouring chunks make a shard, the
// part for which one rank of each machine speaks. Everything here is computed once and never changes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dtypes/wire_type.hpp"
#include "onebit/abi.h"

namespace onebit {

struct LayoutOptions {
  int rank = 0, ranks = 1;               // the chunk to serve, and how many there are
  int locals = 1;                        // neighbouring ranks / locals chunks make a shard, one for each rank of a machine
  int64_t block = 4096;                  // most elements of a block
  int32_t span = ONEBIT_SPAN_BLOCK;      // over what one scale is taken
  int64_t bucket_bytes = 25'000'000;     // of fp32
  WireType dense_type = WireType::fp32;  // of dense rounds; a single rank sends nothing and rounds nothing: fp32
  int64_t dense_below = 0;               // tensors with fewer elements travel as fp32 in compressed rounds, too
  int64_t tile = 0;                      // most elements of a tile; less than a block: one block
  bool whole_tensors = false;            // tiles are whole tensors
  std::vector<bool> exempt = {};         // by tensor: fp32 in compressed rounds, first in the flat space; empty: none
  std::function<size_t(int64_t)> payload_size;  // compressed bytes of a block; unset: nothing is ever compressed
};

// Bytes on the way: where each block's payload is in a bucket's buffer (chunk after chunk), and each rank's share of it.
struct Wire {
  std::vector<onebit_piece> pieces;   // by block of the bucket; first: in the block's tile
  std::vector<onebit_piece> served;   // by own block; payload counted from the own chunk's start, first: in its served tile
  std::vector<onebit_piece> sharded;  // by block of the own shard; payload counted from its start, first: in its shard tile
  std::vector<onebit_part> parts;     // by rank: its chunk in the buffer
  std::vector<onebit_part> incoming;  // by machine: where its copy of the own chunk arrives
  std::vector<onebit_part> shards;    // by rank of the machine: its shard in the buffer
  std::vector<onebit_part> arrivals;  // by rank of the machine: where its copy of the own shard arrives
  int64_t bytes = 0;                  // of the whole bucket
};

// Neighbours in the space that base counts in: flat runs of one kind, exempt or not, or served elements.
struct TileRange {  // blocks [first, first + count) of their bucket (worker's role) or of its served list (server's role)
  int64_t first = 0, count = 0;
  int64_t base = 0;    // its first element, in the flat space or among the served elements
  int64_t extent = 0;  // elements it spans
  bool raw = false;    // travels as fp32 in compressed rounds
};

struct Spans {
  std::vector<onebit_run> ranges;  // the coded blocks over which one scale is taken, numbered as `ordinal` counts them
  std::vector<int32_t> of_block;   // span of each block; -1 for raw blocks
  std::vector<int64_t> ordinal;    // number of each block among the coded ones
  int64_t coded = 0;
};

struct Bucket {
  int64_t first_block = 0, block_count = 0;  // in Layout::blocks
  std::vector<int32_t> owner;                // the rank that serves each block
  std::vector<TileRange> tiles, served_tiles, shard_tiles;
  Wire dense, compressed;
  Wire local;                        // fp32, inside a machine; empty when locals is 1, as are shard_tiles
  Spans worker_spans, server_spans;  // empty when span is block
};

class Layout {
 public:
  // elements: of each tensor, in order; zero is allowed and makes no block.
  Layout(const std::vector<int64_t>& elements, LayoutOptions options);

  const LayoutOptions& options() const { return options_; }
  bool codes() const { return options_.ranks > 1 && options_.payload_size; }  // is there anything to compress for?
  // Does this tensor travel as fp32 in compressed rounds, too? It is exempt, has fewer elements than dense_below, or would be
  // larger compressed; or there is nobody to send it to.
  bool is_raw(int64_t tensor) const { return raw_[static_cast<size_t>(tensor)]; }
  bool wide_spans() const { return codes() && options_.span != ONEBIT_SPAN_BLOCK; }
  int machines() const { return options_.ranks / options_.locals; }
  int local() const { return options_.rank / machines(); }

  std::vector<onebit_block> blocks;  // parameter and gradient are the session's to fill
  std::vector<int64_t> first_block;  // by tensor, and one more
  std::vector<int64_t> elements;     // by tensor
  std::vector<uint64_t> flags;       // by tensor: ONEBIT_TENSOR_
  std::vector<Bucket> buckets;
  int64_t parameters = 0;    // elements of the model
  int64_t coded = 0;         // of these, the ones of tensors that are not raw; 0: compressed rounds compress nothing
  int64_t flat = 0;          // elements of the flat space: each tensor starts on a vector line, exempt ones come first
  int64_t flat_exempt = 0;   // of these, the ones of exempt tensors: what a released slot keeps
  int64_t served = 0;        // elements this rank serves
  int64_t shard = 0;         // elements of its shards; 0 when locals is 1
  int64_t largest_tile = 0;  // elements of the largest tile of either role
  size_t most_tile_blocks = 0;

 private:
  struct Segment {
    int64_t tensor, first, count;
  };
  void lay_flat();
  std::vector<std::vector<Segment>> gather() const;
  void cut(Bucket& bucket, const std::vector<Segment>& segments);
  void cut_run(Bucket& bucket, int64_t tensor, int64_t first, int64_t last, int32_t owner);
  void assign_owners(Bucket& bucket) const;
  void make_tiles(Bucket& bucket);
  void make_role(Bucket& bucket, int first, int last, std::vector<TileRange>& tiles, std::vector<onebit_piece> Wire::*pieces,
                 int64_t& extent);
  void make_spans(Bucket& bucket) const;
  bool is_exempt(int64_t tensor) const { return !options_.exempt.empty() && options_.exempt[static_cast<size_t>(tensor)]; }
  void find_raw();
  bool grows(int64_t count) const;
  int64_t tile_capacity() const;
  size_t compressed_size(const onebit_block& block) const;

  LayoutOptions options_;
  std::vector<bool> raw_;  // by tensor
  std::vector<int64_t> tensor_flat_;
};

}  // namespace onebit
