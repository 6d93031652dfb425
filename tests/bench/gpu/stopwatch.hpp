// SPDX-License-Identifier: Apache-2.0
// Seconds that a stream takes for some work, as its device counts them.
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

#include "onebit/cuda.hpp"

namespace onebit::gpu_bench {

class Event {
 public:
  Event() { cuda::check(cudaEventCreateWithFlags(&event_, cudaEventDefault), "cudaEventCreate"); }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  ~Event() {
    if (event_ != nullptr) (void)cudaEventDestroy(event_);
  }
  Event& operator=(Event&&) = delete;

  void record(cudaStream_t stream) { cuda::check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  // Waits for this one.
  double seconds_since(const Event& earlier) const {
    float milliseconds = 0;
    cuda::check(cudaEventSynchronize(event_), "the work of a row");
    cuda::check(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) / 1e3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class Stopwatch {
 public:
  template <class F>
  double seconds(cudaStream_t stream, F&& work) {
    begin_.record(stream);
    work();
    end_.record(stream);
    return end_.seconds_since(begin_);
  }

 private:
  Event begin_, end_;
};

}  // namespace onebit::gpu_bench
