// SPDX-License-Identifier: Apache-2.0
// Compressor: a codec over blocks, runs of at most describe().block elements of one tensor. It holds no error and no network:
// the host adds worker and server error and moves the payload.
#pragma once

#include <cstddef>
#include <cstdint>

#include "onebit/abi.h"
#include "onebit/counter_random.hpp"
#include "onebit/error.hpp"
#include "onebit/options.hpp"
#include "onebit/services.hpp"

namespace onebit {

using Codec = onebit_codec;
using Piece = onebit_piece;
using Batch = onebit_batch;
using Folding = onebit_folding;

enum class Span : int32_t { block = ONEBIT_SPAN_BLOCK, tensor = ONEBIT_SPAN_TENSOR, bucket = ONEBIT_SPAN_BUCKET };

class Compressor {
 public:
  virtual ~Compressor() = default;
  virtual Codec describe() const = 0;
  // Exact bytes of the payload of one block; a multiple of 4.
  virtual size_t payload_size(int64_t count) const = 0;
  // (tile) The statistics of values + errors of each block. errors is NULL when describe().feedback is 0.
  virtual void measure(const Batch& batch, const float* values, const float* errors, double* statistics) const = 0;
  // For each span the statistics of its blocks, added in order. Only for spans wider than a block.
  virtual void fold(const Folding&, const double* /*blocks*/, double* /*spans*/) const {
    throw Error(Code::unsupported, "this compressor describes a span wider than a block but has no fold");
  }
  // (tile) Payload of values + errors; new_errors = values + errors - what decode will give. new_errors may be errors.
  virtual void encode(const Batch& batch, const float* values, const float* errors, float* new_errors, const double* statistics,
                      void* payload) const = 0;
  // (tile) out = weight * decoded, or out += weight * decoded when add.
  virtual void decode(const Batch& batch, const void* payload, float weight, bool add, float* out) const = 0;
};

// For the CPU: the author writes the code for one block, the loops over a batch are here. statistics is the block's own, or its
// span's; pointers are to the block's first element. What BlockCompressor and StochasticBlockCompressor, below, have in common.
class BlockLoops : public Compressor {
 public:
  virtual void measure_block(const float* /*values*/, const float* /*errors*/, int64_t /*count*/,
                             double* /*statistics*/) const {
    throw Error(Code::unsupported, "this compressor describes statistics but has no measure_block");
  }
  virtual void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const = 0;
  virtual void fold_span(const double* /*blocks*/, size_t /*block_count*/, double* /*span*/) const {
    throw Error(Code::unsupported, "this compressor describes a span wider than a block but has no fold");
  }

  void fold(const Folding& folding, const double* blocks, double* spans) const final {
    const int64_t width = describe().statistics;
    for (size_t s = 0; s < folding.span_count; ++s)
      fold_span(blocks + folding.spans[s].first * width, static_cast<size_t>(folding.spans[s].count),
                spans + static_cast<int64_t>(s) * width);
  }
  void measure(const Batch& batch, const float* values, const float* errors, double* statistics) const final {
    const int64_t width = describe().statistics;
    if (width == 0) return;
    for (const Piece& piece : pieces(batch))
      measure_block(values + piece.first, at(errors, piece), piece.count, statistics + piece.statistic * width);
  }
  void decode(const Batch& batch, const void* payload, float weight, bool add, float* out) const final {
    for (const Piece& piece : pieces(batch))
      decode_block(static_cast<const std::byte*>(payload) + piece.payload, piece.count, weight, add, out + piece.first);
  }

 protected:
  static Slice<const Piece> pieces(const Batch& batch) { return {batch.pieces, batch.piece_count}; }
  template <class T>
  static T* at(T* errors, const Piece& piece) {
    return errors ? errors + piece.first : nullptr;
  }
};

class BlockCompressor : public BlockLoops {
 public:
  virtual void encode_block(const float* values, const float* errors, float* new_errors, int64_t count,
                            const double* statistics, std::byte* payload) const = 0;

  void encode(const Batch& batch, const float* values, const float* errors, float* new_errors, const double* statistics,
              void* payload) const final {
    const int64_t width = describe().statistics;
    for (const Piece& piece : pieces(batch))
      encode_block(values + piece.first, at(errors, piece), at(new_errors, piece), piece.count,
                   statistics + piece.statistic * width, static_cast<std::byte*>(payload) + piece.payload);
  }
};

// For codecs that throw dice: the same, with the block's random numbers.
class StochasticBlockCompressor : public BlockLoops {
 public:
  virtual void encode_block(const float* values, const float* errors, float* new_errors, int64_t count,
                            const double* statistics, const CounterRandom& random, std::byte* payload) const = 0;

  void encode(const Batch& batch, const float* values, const float* errors, float* new_errors, const double* statistics,
              void* payload) const final {
    const int64_t width = describe().statistics;
    for (const Piece& piece : pieces(batch))
      encode_block(values + piece.first, at(errors, piece), at(new_errors, piece), piece.count,
                   statistics + piece.statistic * width, CounterRandom(batch.step, batch.rank, piece.key),
                   static_cast<std::byte*>(payload) + piece.payload);
  }
};

}  // namespace onebit
