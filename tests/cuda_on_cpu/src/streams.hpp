// SPDX-License-Identifier: Apache-2.0
// A stream: a thread and what it has yet to do, in order. And the table from handles to streams.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>

#include "driver_types.h"

namespace onebit::cuda_on_cpu {

using Work = std::function<void()>;

class Stream {
 public:
  // Its thread lives until finish() was called and all is done; nobody waits for it.
  static std::shared_ptr<Stream> start(int device, uint32_t number);

  int device() const { return device_; }
  void push(Work work);         // skipped once something went wrong in the stream
  void push_always(Work work);  // not skipped: what others wait for
  void wait();                  // for all that was pushed so far
  bool idle();
  void finish();
  // What went wrong in it, for good.
  cudaError_t error();
  void fail(cudaError_t error);

 private:
  Stream(int device, uint32_t number) : device_(device), generator_(number) {}
  struct Entry {
    Work work;
    bool always;
  };
  void add(Entry entry);
  void run();
  void sleep();

  const int device_;
  std::minstd_rand generator_;
  std::mutex mutex_;
  std::condition_variable pushed_, done_;
  std::deque<Entry> queue_;
  uint64_t given_ = 0, taken_ = 0;
  bool finished_ = false;
  cudaError_t error_ = cudaSuccess;
};
using StreamPointer = std::shared_ptr<Stream>;

// The stream of a handle; NULL for what is not one, and for the default stream unless the caller may use it.
StreamPointer find_stream(cudaStream_t handle);
// The same, but anybody may name the default stream: to record events in it and to make it wait for some.
StreamPointer find_for_event(cudaStream_t handle);
Stream* current_stream();  // whose thread this is
void wait_for_device(int device);
// The host waits for a stream, and is seen to.
cudaError_t wait_for(Stream& stream);

}  // namespace onebit::cuda_on_cpu
