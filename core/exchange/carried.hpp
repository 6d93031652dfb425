// SPDX-License-Identifier: Apache-2.0
// Carried: what compression had left out of tensors that a session which loads it does not compress, as one with a single rank
// compresses nothing: it is added to their next mean in a compressed round, once, so that nothing is lost for good.
#pragma once

#include <algorithm>
#include <vector>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "device/mirror.hpp"
#include "device/verdict.hpp"
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
  // It has been added, but for absent tensors, of which nothing was sent: a bit each; NULL: all were.
  void spend(const uint64_t* absent) {
    bool is_left = false;
    for (size_t t = 0; t < layout_.elements.size() && any() && absent != nullptr; ++t)
      is_left = is_left || (layout_.elements[t] > 0 && has_bit(absent, static_cast<int64_t>(t)));
    if (!is_left) return forget();
    for (const onebit_block& block : layout_.blocks)
      if (!has_bit(absent, block.tensor)) zero(values_.as<float>() + block.flat, static_cast<size_t>(block.count));
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
  void zero(float* values, size_t count) {
    if (meter_.device() != nullptr)
      meter_.device()->zero(values, count * sizeof(float));
    else
      std::fill_n(values, count, 0.0F);
  }

  const Layout& layout_;
  MemoryMeter& meter_;
  Buffer values_;
  std::vector<std::vector<onebit_piece>> pieces_;  // by bucket
  Mirror mirror_;
};

}  // namespace onebit
