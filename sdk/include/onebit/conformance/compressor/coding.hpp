// SPDX-License-Identifier: Apache-2.0
// Blocks on their way through a codec, as the host sends them: measured, folded where a span is wider than a block, encoded and
// decoded, with canaries around everything and gaps between the blocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "onebit/compressor.hpp"
#include "onebit/conformance/fixtures/guarded.hpp"
#include "onebit/conformance/fixtures/noise.hpp"
#include "onebit/conformance/fixtures/unmet.hpp"

namespace onebit::conformance {

using MakeCompressor = std::function<std::unique_ptr<Compressor>()>;

class Coding {
 public:
  static constexpr int64_t gap = 16;  // elements, and bytes of payload, between blocks

  // counts: elements of each block. first_key: of the first block; the others follow.
  Coding(const Compressor& with, const std::vector<int64_t>& counts, uint64_t first_key = 0)
      : codec_(with), codec(with.describe()) {
    int64_t at = 0, payload_at = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      pieces.push_back({at, counts[i], payload_at, static_cast<int64_t>(i), first_key + 2 * i});
      at += counts[i] + gap;
      payload_at += static_cast<int64_t>(with.payload_size(counts[i])) + gap;
    }
    const auto size = static_cast<size_t>(at);
    values = errors = new_errors = out = Guarded<float>(Floats(size, gap_value()));
    payload = Guarded<unsigned char>(std::vector<unsigned char>(static_cast<size_t>(payload_at), gap_byte));
    statistics = Guarded<double>(counts.size() * static_cast<size_t>(codec.statistics));
    for (const Piece& piece : pieces) {
      std::fill_n(errors.data() + piece.first, piece.count, 0.0F);
      std::fill_n(new_errors.data() + piece.first, piece.count, 0.0F);
    }
    spans = {{0, static_cast<int64_t>(counts.size())}};
  }

  bool feeds_back() const { return codec.feedback != 0; }
  bool wide() const { return codec.span != ONEBIT_SPAN_BLOCK; }
  size_t payload_size(const Piece& piece) const { return codec_.payload_size(piece.count); }

  // Values of a sequence in every block.
  Coding& fill(uint64_t sequence, float size = 1) {
    for (const Piece& piece : pieces) {
      const Floats block = noises(sequence + piece.key, static_cast<size_t>(piece.count), size);
      std::copy(block.begin(), block.end(), values.data() + piece.first);
    }
    return *this;
  }
  Coding& fill_errors(uint64_t sequence, float size) {
    if (!feeds_back()) return *this;
    for (const Piece& piece : pieces) {
      const Floats block = noises(sequence + piece.key, static_cast<size_t>(piece.count), size);
      std::copy(block.begin(), block.end(), errors.data() + piece.first);
    }
    return *this;
  }
  Coding& set(float value) {
    for (const Piece& piece : pieces) std::fill_n(values.data() + piece.first, piece.count, value);
    return *this;
  }

  // in_place: new errors go where the errors are.
  Coding& encode(bool in_place = false) {
    measure();
    run(pieces.data(), pieces.size(), in_place);
    return *this;
  }
  void measure() {
    if (!wide()) return measure(pieces.data(), pieces.size());
    Guarded<double> blocks(statistics.size()), folded(spans.size() * static_cast<size_t>(codec.statistics));
    codec_.measure(batch(pieces.data(), pieces.size()), values.data(), feeds_back() ? errors.data() : nullptr, blocks.data());
    const Folding folding = {sizeof folding, spans.size(), spans.data(), nullptr, nullptr, nullptr};
    codec_.fold(folding, blocks.data(), folded.data());
    require(blocks.intact() && folded.intact(), "measure or fold wrote beside its statistics");
    for (size_t s = 0; s < spans.size(); ++s)
      for (int64_t block = spans[s].first; block < spans[s].first + spans[s].count; ++block)
        std::copy_n(folded.data() + s * width(), width(), statistics.data() + static_cast<size_t>(block) * width());
  }
  // Some of the pieces, where a span is a block.
  void measure(const Piece* first, size_t count) {
    codec_.measure(batch(first, count), values.data(), feeds_back() ? errors.data() : nullptr, statistics.data());
  }
  // Some of the pieces, of which the statistics are there.
  void run(const Piece* first, size_t count, bool in_place = false) {
    float* const into = in_place ? errors.data() : new_errors.data();
    codec_.encode(batch(first, count), values.data(), feeds_back() ? errors.data() : nullptr, feeds_back() ? into : nullptr,
                  statistics.data(), payload.data());
  }
  Coding& decode(float weight = 1, bool add = false) {
    codec_.decode(batch(pieces.data(), pieces.size()), payload.data(), weight, add, out.data());
    return *this;
  }
  Batch batch(const Piece* first, size_t count) const {
    return {sizeof(Batch), count, first, nullptr, step, rank, nullptr, nullptr};
  }

  // Of one block.
  Floats of(const Guarded<float>& array, const Piece& piece) const {
    return Floats(array.data() + piece.first, array.data() + piece.first + piece.count);
  }
  std::vector<unsigned char> payload_of(const Piece& piece) const {
    const unsigned char* const first = payload.data() + piece.payload;
    return std::vector<unsigned char>(first, first + payload_size(piece));
  }

  // Whether nothing was written beside or between the blocks of an array.
  bool untouched_around(const Guarded<float>& array) const {
    std::vector<bool> inside(array.size());
    for (const Piece& piece : pieces) std::fill_n(inside.begin() + piece.first, piece.count, true);
    const float expected = gap_value();
    for (size_t i = 0; i < array.size(); ++i)
      if (!inside[i] && !same_bits(array[i], expected)) return false;
    return array.intact();
  }
  bool payload_untouched_around() const {
    std::vector<bool> inside(payload.size());
    for (const Piece& piece : pieces)
      std::fill_n(inside.begin() + piece.payload, static_cast<std::ptrdiff_t>(payload_size(piece)), true);
    for (size_t i = 0; i < payload.size(); ++i)
      if (!inside[i] && payload[i] != gap_byte) return false;
    return payload.intact();
  }

  std::vector<Piece> pieces;
  std::vector<onebit_run> spans;
  Guarded<float> values, errors, new_errors, out;
  Guarded<unsigned char> payload;
  Guarded<double> statistics;
  uint64_t step = 1, rank = 0;

 private:
  static constexpr unsigned char gap_byte = 0xC3;
  static float gap_value() { return 1234.5F; }
  size_t width() const { return static_cast<size_t>(codec.statistics); }

  const Compressor& codec_;

 public:
  const Codec codec;
};

// Lengths of blocks that are worth a trial, up to the longest.
inline std::vector<int64_t> block_lengths(const Codec& codec) {
  std::vector<int64_t> lengths;
  for (const int64_t n : {int64_t{1}, int64_t{2}, int64_t{3}, int64_t{7}, int64_t{8}, int64_t{15}, int64_t{16}, int64_t{17},
                          int64_t{31}, int64_t{32}, int64_t{33}, int64_t{63}, int64_t{64}, int64_t{65}, int64_t{100},
                          int64_t{1000}, codec.block - 1, codec.block})
    if (n <= codec.block && std::find(lengths.begin(), lengths.end(), n) == lengths.end()) lengths.push_back(n);
  return lengths;
}
// A batch as a tile has it: full blocks, and the rests of tensors.
inline std::vector<int64_t> mixed_lengths(const Codec& codec) {
  const int64_t full = std::min<int64_t>(codec.block, 1024);
  return {full, 1, std::min<int64_t>(full, 33), full, std::min<int64_t>(full, 31), full - 1};
}
inline std::string block_text(size_t i, const Piece& piece) {
  return "block " + std::to_string(i) + " (" + std::to_string(piece.count) + " elements)";
}

}  // namespace onebit::conformance
