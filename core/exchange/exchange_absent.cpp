// SPDX-License-Identifier: Apache-2.0
// What becomes of tensors that no rank has a gradient of: their errors stay, and so does their part of a retained mean.
#include <algorithm>
#include <cstring>

#include "exchange/exchange.hpp"
#include "exchange/exchange_runs.hpp"

namespace onebit {

bool Exchange::may_be_absent(const std::vector<onebit_piece>& pieces, const TileRange& tile) const {
  const auto first = pieces.begin() + tile.first;
  return opening_.absent != nullptr &&
         std::any_of(first, first + tile.count, [&](const onebit_piece& piece) { return may_be_absent(piece); });
}

MarkedPieces Exchange::marked(const std::vector<onebit_piece>& pieces, const TileRange& tile) const {
  return {mirror_.of(pieces), tile.first, tile.count, device_blocks_};
}

// A bucket's part of the mean that stays; NULL: this round keeps none, or there is none yet.
const std::byte* Exchange::kept(const Round& round, size_t bucket) const {
  return round.retain && !begins(round) ? retained_.current(bucket) : nullptr;
}

// The payload of absent pieces: the one that is kept, from the same place; else zeros, which mean nothing.
void Exchange::fill(const Round& round, const std::vector<onebit_piece>& pieces, const TileRange& run, const std::byte* kept,
                    std::byte* payload) const {
  const Compressor& with = codec(round, run);
  for (int64_t k = run.first; k < run.first + run.count; ++k) {
    const onebit_piece& piece = pieces[static_cast<size_t>(k)];
    const size_t bytes = with.payload_size(piece.count);
    if (kept == nullptr)
      std::memset(payload + piece.payload, 0, bytes);
    else
      std::memcpy(payload + piece.payload, kept + piece.payload, bytes);
  }
}

// The same on a device, over what was encoded. bytes: of all pieces' payloads.
void Exchange::keep_on_device(const std::vector<onebit_piece>& pieces, const TileRange& tile, int64_t bytes,
                              const std::byte* kept, std::byte* payload) const {
  if (device_ == nullptr || kept == nullptr || !may_be_absent(pieces, tile)) return;
  device_->keep_payload(marked(pieces, tile), static_cast<int64_t>(pieces.size()), bytes, kept, payload, opening_.skip);
}

// Of absent pieces, so that they have no part in a scale that is wider than a block.
void Exchange::clear_statistics(const std::vector<onebit_piece>& pieces, const TileRange& run, double* statistics) const {
  const int64_t width = description_.statistics;
  if (device_ != nullptr) {
    if (may_be_absent(pieces, run)) device_->clear_statistics(marked(pieces, run), width, statistics, opening_.skip);
    return;
  }
  for (int64_t k = run.first; k < run.first + run.count; ++k)
    std::fill_n(statistics + pieces[static_cast<size_t>(k)].statistic * width, width, 0.0);
}

// The values of a run's pieces.
void Exchange::divide(const std::vector<onebit_piece>& pieces, const TileRange& run, float* values, int by) const {
  const auto [first, count] = extent_of(pieces, run);
  float* const begin = values + first;
  const auto divisor = static_cast<float>(by);
  if (device_ != nullptr) return device_->divide(begin, count, divisor, opening_.skip);
  for (int64_t i = 0; i < count; ++i) begin[i] /= divisor;
}

}  // namespace onebit
