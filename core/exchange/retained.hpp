// SPDX-License-Identifier: Apache-2.0
// The mean that an optimizer asked to keep for later steps: as the payload it arrived in (bits and scales for a compressed
// round, fp32 for a dense one), decoded into a tile when asked for. This is what makes momentum cost one bit. One that comes
// from a session whose payloads were cut otherwise is kept as fp32, until the next.
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
  std::byte* current(size_t bucket) const { return stores_[index(*kind_)].current[bucket].bytes(); }
  // Of the flat space; NULL: it is not kept so.
  float* restored() const { return restored_.as<float>(); }

  // Where this step's mean goes, bucket by bucket; it becomes current at commit.
  void prepare(RoundKind kind);
  std::byte* next(RoundKind kind, size_t bucket) { return stores_[index(kind)].next[bucket].bytes(); }
  void commit(RoundKind kind);
  uint64_t bytes() const;

  // For whoever loads what another session kept: none; one of this kind, for current() to be filled; fp32.
  void forget();
  void begin_with(RoundKind kind);
  float* begin_restored();

 private:
  struct Store {
    std::vector<Buffer> current, next;
  };
  static size_t index(RoundKind kind) { return kind == RoundKind::dense ? 0 : 1; }

  const Layout& layout_;
  MemoryMeter& meter_;
  Store stores_[2];
  std::optional<RoundKind> kind_;
  Buffer restored_;
};

}  // namespace onebit
