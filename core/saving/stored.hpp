// SPDX-License-Identifier: Apache-2.0
// Stored: a tensor of a checkpoint, and where in memory its bytes are: what is copied from there when saving, and to there when
// loading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "device/device.hpp"
#include "files/safetensors_layout.hpp"

namespace onebit {

struct MemoryRun {
  std::byte* at;
  uint64_t bytes;
};

struct Stored {
  SafetensorsLayout::Tensor tensor;
  Device* device = nullptr;  // whose memory it is; NULL: the CPU's
  std::vector<MemoryRun> runs = {};
  // Strides of its one run of fp32, where that is not row by row as the file is.
  std::vector<int64_t> order = {};

  uint64_t bytes() const;
  // The bytes [begin, end) of its data as the file has them: whole elements where it has an order. streamed: past the caches.
  void read(uint64_t begin, uint64_t end, std::byte* out, bool streamed) const;
  // The same to memory; where it has an order, all of them.
  void write(uint64_t begin, uint64_t end, const std::byte* in) const;
};

// Into the CPU's memory or a device's.
void copy_in(Device* device, void* to, const void* from, uint64_t bytes);

}  // namespace onebit
