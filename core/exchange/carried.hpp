// SPDX-License-Identifier: Apache-2.0
// Carried: what compression had left out in a session with more ranks, where this one compresses nothing: it is added to the
// next mean that would have been compressed, once, so that nothing is lost for good.
#pragma once

#include <vector>

#include "device/buffer.hpp"
#include "device/mirror.hpp"
#include "exchange/layout.hpp"

namespace onebit {

class Carried {
 public:
  Carried(const Layout& layout, MemoryMeter& meter) : layout_(layout), meter_(meter) {}

  bool any() const { return values_.size() > 0; }
  // Of the flat space.
  const Buffer& values() const { return values_; }
  // Zeros, to be filled.
  float* begin() {
    forget();
    values_ = Buffer(meter_, static_cast<size_t>(layout_.flat) * sizeof(float));
    for (const Bucket& bucket : layout_.buckets) {
      pieces_.push_back(bucket.dense.pieces);
      for (onebit_piece& piece : pieces_.back())
        piece.payload = static_cast<int64_t>(sizeof(float)) * layout_.blocks[static_cast<size_t>(block_of(piece))].flat;
    }
    if (meter_.device() == nullptr) return values_.as<float>();
    for (const std::vector<onebit_piece>& pieces : pieces_) mirror_.add(pieces);
    mirror_.upload(meter_);
    return values_.as<float>();
  }
  void forget() {
    values_ = Buffer();
    mirror_ = Mirror();
    pieces_.clear();
  }
  // As payloads in fp32, of a bucket's blocks; and the same in a device's memory, NULL where there is none.
  const std::vector<onebit_piece>& pieces(size_t bucket) const { return pieces_[bucket]; }
  const onebit_piece* on_device(size_t bucket) const { return mirror_.of(pieces_[bucket]); }

 private:
  const Layout& layout_;
  MemoryMeter& meter_;
  Buffer values_;
  std::vector<std::vector<onebit_piece>> pieces_;  // by bucket
  Mirror mirror_;
};

}  // namespace onebit
