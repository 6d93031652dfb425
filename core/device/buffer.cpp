// SPDX-License-Identifier: Apache-2.0
#include "device/buffer.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "device/device.hpp"
#include "device/ready_memory.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

constexpr size_t huge_page = Buffer::huge_page;
constexpr size_t vector_line = 64;
constexpr size_t device_line = 256;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Fresh pages are zero without being touched; the ends are trimmed so that huge pages fit.
void* map_pages(size_t bytes) {
  const size_t span = bytes + huge_page;
  void* mapped = mmap(nullptr, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t first = round_up(begin, huge_page);
  if (first > begin) munmap(mapped, first - begin);
  const uintptr_t end = first + bytes;
  if (begin + span > end) munmap(reinterpret_cast<void*>(end), begin + span - end);
  void* data = reinterpret_cast<void*>(first);
  (void)madvise(data, bytes, MADV_HUGEPAGE);  // advice: where the kernel has none, small pages serve
  return data;
}

void* allocate(size_t bytes) {
  if (Buffer::is_paged(bytes)) return map_pages(bytes);
  void* data = std::aligned_alloc(vector_line, bytes);
  if (data != nullptr) std::memset(data, 0, bytes);
  return data;
}

}  // namespace

Buffer::Buffer(MemoryMeter& meter, size_t bytes) {
  if (bytes == 0 || take_ready(meter, bytes)) return;
  const bool paged = meter.device() == nullptr && is_paged(bytes);
  const size_t rounded = round_up(bytes, meter.device() != nullptr ? device_line : paged ? page : vector_line);
  data_ = static_cast<std::byte*>(meter.device() != nullptr ? meter.device()->allocate(rounded) : allocate(rounded));
  if (data_ == nullptr)
    throw Error(Code::out_of_memory,
                "no memory for " + std::to_string(bytes) + " bytes of state; " + std::to_string(meter.held()) +
                    " bytes are held already",
                ENOMEM);
  mapped_ = paged;
  size_ = rounded;
  meter_ = &meter;
  meter.add(size_);
}

bool Buffer::take_ready(MemoryMeter& meter, size_t bytes) {
  if (meter.ready() == nullptr) return false;
  Buffer ready = meter.ready()->take(bytes);
  if (ready.data_ == nullptr) return false;
  swap(ready);
  meter_->remove(size_);
  meter_ = &meter;
  meter.add(size_);
  return true;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  meter_->remove(size_);
  if (meter_->device() != nullptr)
    meter_->device()->release(data_, size_);
  else if (mapped_)
    munmap(data_, size_);
  else
    std::free(data_);
}

void Buffer::shrink(size_t bytes) {
  if (data_ == nullptr) return;
  const size_t line = meter_->device() != nullptr ? device_line : vector_line;
  const size_t kept = round_up(bytes, mapped_ ? page : line);
  if (kept >= size_) return;
  if (mapped_ && kept > 0) {
    munmap(data_ + kept, size_ - kept);
    meter_->remove(size_ - kept);
    size_ = kept;
    return;
  }
  Buffer smaller(*meter_, bytes);
  if (kept > 0 && meter_->device() != nullptr)
    meter_->device()->copy(smaller.data_, data_, bytes);
  else if (kept > 0)
    std::memcpy(smaller.data_, data_, kept);
  swap(smaller);
}

void Buffer::zero() {
  if (data_ == nullptr) return;
  if (meter_->device() != nullptr)
    meter_->device()->zero(data_, size_);
  else
    std::memset(data_, 0, size_);
}

void Buffer::set(const void* from, size_t bytes) {
  if (bytes == 0) return;
  if (meter_->device() != nullptr)
    meter_->device()->write(data_, from, bytes);
  else
    std::memcpy(data_, from, bytes);
}

}  // namespace onebit
