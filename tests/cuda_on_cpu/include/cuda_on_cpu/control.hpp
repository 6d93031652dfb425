// SPDX-License-Identifier: Apache-2.0
// What a test may set and ask of the CUDA runtime that this folder emulates.
//
// Devices: as many as the test says. Memory of theirs is the CPU's, filled with NaN when it is allocated. A stream is a thread
// that takes its work late, so that who forgets to wait sees other bytes. The default stream is refused, but for recording and
// waiting for events. A kernel's threads are fibers, its blocks run one after another, in no fixed order: a kernel whose blocks
// wait for each other would hang, as it may on a device.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../driver_types.h"

namespace onebit::cuda_on_cpu {

// These start as the environment says: ONEBIT_CUDA_ON_CPU_DEVICES (1), _DRIVER (13000), _DELAY_US (50).
void set_devices(int count);                     // 0: every call answers cudaErrorNoDevice
void set_driver(int version);                    // below CUDART_VERSION: cudaErrorInsufficientDriver; 0: there is no driver
void set_delay(std::chrono::microseconds most);  // how late a stream takes each piece of its work, at most
void set_device_memory(size_t bytes);            // of one device
void fail_next(const char* call, cudaError_t error);  // the next call of that name, by any thread

struct Counters {
  int64_t device_bytes = 0;        // allocated now
  int64_t device_blocks = 0;       // likewise
  int64_t device_allocations = 0;  // these never shrink
  int64_t pinned_bytes = 0;
  int64_t pinned_blocks = 0;
  int64_t pinned_allocations = 0;
  int64_t launches = 0;
  int64_t copies = 0;
  int64_t waits = 0;  // calls in which the host waited for a stream, whether or not it had to
  int64_t streams = 0;
  int64_t events = 0;
};
Counters counters();

// More work for a stream, for whoever emulates another library on top.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

// While it lives this thread may use the default stream, as the application around us may.
class DefaultStreamAllowed {
 public:
  DefaultStreamAllowed();
  ~DefaultStreamAllowed();
  DefaultStreamAllowed(const DefaultStreamAllowed&) = delete;
  DefaultStreamAllowed& operator=(const DefaultStreamAllowed&) = delete;
};

// Kernels that go wrong (a barrier that not all threads reach, a lane that is not in its mask) abort the program with a
// message; while this lives they fail as a kernel on a device does, and their messages are kept.
class Mishaps {
 public:
  Mishaps();
  ~Mishaps();
  Mishaps(const Mishaps&) = delete;
  Mishaps& operator=(const Mishaps&) = delete;
  std::vector<std::string> messages() const;
};

}  // namespace onebit::cuda_on_cpu
