// SPDX-License-Identifier: Apache-2.0
// Memory that the core owns: zeroed, aligned, on huge pages where it is large, and counted; the CPU's, or a device's. Every
// byte of state, errors and payloads goes through here, so a session can tell what it holds and what it held at most.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace onebit {

class Device;
class ReadyMemory;

class MemoryMeter {
 public:
  // device: whose memory it is; NULL: the CPU's.
  explicit MemoryMeter(Device* device = nullptr) : device_(device) {}
  Device* device() const { return device_; }
  void add(uint64_t bytes) { peak_ = std::max(peak_, held_ += bytes); }
  void remove(uint64_t bytes) { held_ -= bytes; }
  uint64_t held() const { return held_; }
  uint64_t peak() const { return peak_; }
  // Where buffers find pages that are touched already; NULL: nowhere.
  ReadyMemory* ready() const { return ready_; }
  void set_ready(ReadyMemory* ready) { ready_ = ready; }

 private:
  Device* device_;
  ReadyMemory* ready_ = nullptr;
  uint64_t held_ = 0, peak_ = 0;
};

class Buffer {
 public:
  static constexpr size_t page = 4096, huge_page = size_t{2} << 20U;
  // Whether one of the CPU's of so many bytes has pages of its own, else it is from the heap.
  static bool is_paged(size_t bytes) { return bytes >= huge_page; }

  Buffer() = default;
  Buffer(MemoryMeter& meter, size_t bytes);  // throws Error(out_of_memory) that says how much was wanted
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~Buffer();

  size_t size() const { return size_; }
  std::byte* bytes() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  void zero();
  // Of `bytes` bytes, from the CPU's memory.
  void set(const void* from, size_t bytes);
  // Frees all but the first bytes, which keep their values; the others' pages go back to the system. 0: frees everything.
  void shrink(size_t bytes);

 private:
  bool take_ready(MemoryMeter& meter, size_t bytes);
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(meter_, other.meter_);
    std::swap(mapped_, other.mapped_);
  }
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  MemoryMeter* meter_ = nullptr;
  bool mapped_ = false;  // pages of its own; else from the heap
};

}  // namespace onebit
