// SPDX-License-Identifier: Apache-2.0
// What a communicator of device memory needs of a device: host memory to stage in, and copies in the order of a stream.
#pragma once

#include <cstddef>
#include <cstdint>

#include "onebit/abi.h"

namespace onebit::mpi {

class Device {
 public:
  using Mark = void*;
  virtual ~Device() = default;
  virtual int32_t type() const = 0;  // ONEBIT_DEVICE_, of the tensors that it takes

  // Host memory that the device copies to and from without another copy.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  // Neither returns when it is done, but keeps to the stream's order.
  virtual void to_host(void* to, const void* from, size_t bytes, const onebit_stream* stream) = 0;
  virtual void to_device(void* to, const void* from, size_t bytes, const onebit_stream* stream) = 0;
  // A point in the stream: after all that was given to it so far. Each is waited for once.
  virtual Mark mark(const onebit_stream* stream) = 0;
  virtual void wait(Mark mark) = 0;
};

}  // namespace onebit::mpi
