// SPDX-License-Identifier: Apache-2.0
// Mirror: the layout's arrays in a device's memory, for kernels. Where there is no device it has none of them.
#pragma once

#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "device/buffer.hpp"

namespace onebit {

class Mirror {
 public:
  // Of arrays that do not change any more.
  template <class T>
  void add(const std::vector<T>& array) {
    if (!array.empty()) arrays_.emplace_back(array.data(), array.size() * sizeof(T));
  }
  // After all were added.
  void upload(MemoryMeter& meter) {
    size_t bytes = 0;
    for (const auto& [array, size] : arrays_) bytes += aligned(size);
    memory_ = Buffer(meter, bytes);
    std::vector<std::byte> all(bytes);
    size_t at = 0;
    for (const auto& [array, size] : arrays_) {
      std::memcpy(all.data() + at, array, size);
      places_.emplace(array, memory_.bytes() + at);
      at += aligned(size);
    }
    memory_.set(all.data(), bytes);
  }
  // NULL where it was not added.
  template <class T>
  const T* of(const std::vector<T>& array) const {
    const auto found = places_.find(array.data());
    return found == places_.end() ? nullptr : reinterpret_cast<const T*>(found->second);
  }
  uint64_t bytes() const { return memory_.size(); }

 private:
  static size_t aligned(size_t bytes) { return (bytes + 15) / 16 * 16; }

  std::vector<std::pair<const void*, size_t>> arrays_;
  std::unordered_map<const void*, std::byte*> places_;
  Buffer memory_;
};

}  // namespace onebit
