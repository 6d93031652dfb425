// SPDX-License-Identifier: Apache-2.0
#include "device/ready_memory.hpp"

#include <sched.h>

#include <system_error>
#include <utility>

#include "onebit/error.hpp"

namespace onebit {

ReadyMemory::ReadyMemory(MemoryMeter& meter, const std::vector<size_t>& sizes) : meter_(meter) {
  if (meter.device() != nullptr) return;
  try {
    for (const size_t bytes : sizes)
      if (Buffer::is_paged(bytes)) buffers_.emplace_back(own_, bytes);
    if (!buffers_.empty()) thread_ = std::thread([this] { touch(); });
    meter_.set_ready(this);
  } catch (const Error&) {
    buffers_.clear();
  } catch (const std::system_error&) {  // no thread
    buffers_.clear();
  }
}

ReadyMemory::~ReadyMemory() {
  stop();
  if (meter_.ready() == this) meter_.set_ready(nullptr);
}

// With time that nobody else has a use for: who reads a file must not wait for a processor, or the disk waits, too.
void ReadyMemory::touch() {
  const sched_param none = {};
  (void)::sched_setscheduler(0, SCHED_IDLE, &none);  // of this thread; where it is refused, it competes
  for (const Buffer& buffer : buffers_)
    for (size_t at = 0; at < buffer.size() && !stopped_.load(std::memory_order_relaxed); at += Buffer::page)
      *reinterpret_cast<volatile std::byte*>(buffer.bytes() + at) = std::byte{0};
}

void ReadyMemory::stop() {
  stopped_ = true;
  if (thread_.joinable()) thread_.join();
}

Buffer ReadyMemory::take(size_t bytes) {
  for (Buffer& buffer : buffers_) {
    if (buffer.size() < bytes || buffer.size() - bytes >= Buffer::page) continue;
    stop();
    return std::exchange(buffer, Buffer());
  }
  return {};
}

}  // namespace onebit
