// SPDX-License-Identifier: Apache-2.0
// What all calls of the emulated runtime share: devices that are or are not there, failures that a test asked for, the last
// error, and who may use the default stream.
#pragma once

#include <mutex>

#include "cuda_on_cpu/control.hpp"

namespace onebit::cuda_on_cpu {

std::mutex& runtime_mutex();  // guards the tables of memory, streams and events, and the counters
Counters& live_counters();

// cudaSuccess, or why a call can't be made: no driver, no device, or a test's wish.
cudaError_t obstacle(const char* call);
cudaError_t injected(const char* call);
cudaError_t remember(cudaError_t error);  // for cudaGetLastError; answers it
bool default_stream_allowed();
int current_device();
int device_count();
size_t device_memory();
std::chrono::microseconds delay();

// A call of the API: what stands in its way, else what it does.
template <class F>
cudaError_t api_call(const char* name, F&& f) {
  const cudaError_t error = obstacle(name);
  return remember(error != cudaSuccess ? error : f());
}

}  // namespace onebit::cuda_on_cpu
