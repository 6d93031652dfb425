// SPDX-License-Identifier: Apache-2.0
// Memory of the CPU for buffers that will soon be filled at once, touched by a thread of its own: the kernel zeroes a page when
// it is first written, which takes about as long as filling it, and who waits for a disk has that time.
#pragma once

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "device/buffer.hpp"

namespace onebit {

class ReadyMemory {
 public:
  // For large buffers of these sizes in bytes: as long as this lives, a Buffer of `meter` that has one of them takes its pages
  // from here, and is counted then. Where there is no memory for that, or it is a device's, buffers are made as always.
  ReadyMemory(MemoryMeter& meter, const std::vector<size_t>& sizes);
  ReadyMemory(const ReadyMemory&) = delete;
  ReadyMemory& operator=(const ReadyMemory&) = delete;
  ~ReadyMemory();  // what nobody took is given back

 private:
  friend class Buffer;
  // Zeros, to be counted by another meter; empty: there are none of this size, or no more. Ends the touching, which writes.
  Buffer take(size_t bytes);
  void touch();
  void stop();

  MemoryMeter& meter_;
  MemoryMeter own_;
  std::vector<Buffer> buffers_;
  std::atomic<bool> stopped_{false};
  std::thread thread_;
};

}  // namespace onebit
