// SPDX-License-Identifier: Apache-2.0
// The mean that an optimizer asked to keep for later steps: as the payload it arrived in (bits and scales for a compressed
// round, fp32 for a dense one), decoded into a tile when asked for. This is what makes momentum cost one bit.
#pragma once

#include <optional>
#include <vector>

#include "device/buffer.hpp"
#include "exchange/layout.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

class Retained {
 public:
  Retained(const Layout& layout, MemoryMeter& meter) : layout_(layout), meter_(meter) {}

  // The kind of round whose mean is kept; none before the first commit.
  std::optional<RoundKind> kind() const { return kind_; }
  const std::byte* current(size_t bucket) const { return stores_[index(*kind_)].current[bucket].bytes(); }

  // Where this step's mean goes, bucket by bucket; it becomes current at commit.
  void prepare(RoundKind kind);
  std::byte* next(RoundKind kind, size_t bucket) { return stores_[index(kind)].next[bucket].bytes(); }
  void commit(RoundKind kind);
  uint64_t bytes() const;

 private:
  struct Store {
    std::vector<Buffer> current, next;
  };
  static size_t index(RoundKind kind) { return kind == RoundKind::dense ? 0 : 1; }

  const Layout& layout_;
  MemoryMeter& meter_;
  Store stores_[2];
  std::optional<RoundKind> kind_;
};

}  // namespace onebit
