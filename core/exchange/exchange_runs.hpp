// SPDX-License-Identifier: Apache-2.0
// Tiles, cut where tensors that are absent from a step begin and end. For the exchange's own files.
#pragma once

#include <utility>

#include "exchange/exchange.hpp"

namespace onebit {

// Of a run's pieces, in their tile: the first element, and how many there are up to the last one.
inline std::pair<int64_t, int64_t> extent_of(const std::vector<onebit_piece>& pieces, const TileRange& run) {
  const onebit_piece &first = pieces[static_cast<size_t>(run.first)],
                     &last = pieces[static_cast<size_t>(run.first + run.count - 1)];
  return {first.first, last.first + last.count - first.first};
}

inline bool Exchange::may_be_absent(const onebit_piece& piece) const {
  return opening_.absent != nullptr && has_bit(opening_.absent, layout_.blocks[static_cast<size_t>(block_of(piece))].tensor);
}

// The usual: one run. On a device, too, for there kernels tell what is absent.
template <class F>
void Exchange::for_runs(const std::vector<onebit_piece>& pieces, const TileRange& tile, F&& f) const {
  if (opening_.absent == nullptr || device_ != nullptr) return f(tile, false);
  for (int64_t k = 0; k < tile.count;) {
    TileRange run = tile;
    run.first += k;
    run.count = 1;
    const onebit_piece* const first = pieces.data() + run.first;
    const bool absent = may_be_absent(*first);
    while (k + run.count < tile.count && may_be_absent(first[run.count]) == absent) ++run.count;
    f(run, absent);
    k += run.count;
  }
}

}  // namespace onebit
