// SPDX-License-Identifier: Apache-2.0
// The state of the runtime as a whole. It is never destroyed: streams may still run when the program ends.
#include "runtime.hpp"

#include <atomic>
#include <cstdlib>
#include <map>

#include "cuda_runtime_api.h"

namespace onebit::cuda_on_cpu {
namespace {

int from_environment(const char* name, int fallback) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atoi(text) : fallback;
}

struct Runtime {
  std::mutex mutex;
  Counters counters;
  std::map<std::string, cudaError_t> failures;  // guarded by mutex
  std::atomic<int> devices{from_environment("ONEBIT_CUDA_ON_CPU_DEVICES", 1)};
  std::atomic<int> driver{from_environment("ONEBIT_CUDA_ON_CPU_DRIVER", CUDART_VERSION)};
  std::atomic<int> delay_us{from_environment("ONEBIT_CUDA_ON_CPU_DELAY_US", 50)};
  std::atomic<size_t> memory{size_t{8} << 30U};
};

Runtime& runtime() {
  static Runtime& runtime = *new Runtime;
  return runtime;
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local int chosen_device = 0;
thread_local int default_stream_users = 0;

}  // namespace

std::mutex& runtime_mutex() { return runtime().mutex; }
Counters& live_counters() { return runtime().counters; }

void set_devices(int count) { runtime().devices = count; }
void set_driver(int version) { runtime().driver = version; }
void set_delay(std::chrono::microseconds most) { runtime().delay_us = static_cast<int>(most.count()); }
void set_device_memory(size_t bytes) { runtime().memory = bytes; }
void fail_next(const char* call, cudaError_t error) {
  const std::lock_guard<std::mutex> lock(runtime().mutex);
  runtime().failures[call] = error;
}
Counters counters() {
  const std::lock_guard<std::mutex> lock(runtime().mutex);
  return runtime().counters;
}

DefaultStreamAllowed::DefaultStreamAllowed() { ++default_stream_users; }
DefaultStreamAllowed::~DefaultStreamAllowed() { --default_stream_users; }
bool default_stream_allowed() { return default_stream_users > 0; }

int current_device() { return chosen_device; }
int device_count() { return runtime().devices; }
size_t device_memory() { return runtime().memory; }
std::chrono::microseconds delay() { return std::chrono::microseconds(runtime().delay_us); }

cudaError_t injected(const char* call) {
  const std::lock_guard<std::mutex> lock(runtime().mutex);
  const auto found = runtime().failures.find(call);
  if (found == runtime().failures.end()) return cudaSuccess;
  const cudaError_t error = found->second;
  runtime().failures.erase(found);
  return error;
}

cudaError_t obstacle(const char* call) {
  if (runtime().driver < CUDART_VERSION) return cudaErrorInsufficientDriver;
  if (runtime().devices == 0) return cudaErrorNoDevice;
  return injected(call);
}

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

}  // namespace onebit::cuda_on_cpu

using namespace onebit::cuda_on_cpu;

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return last_error; }

// These two need no driver.
cudaError_t cudaDriverGetVersion(int* version) {
  *version = runtime().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return api_call("cudaGetDeviceCount", [&] {
    *count = device_count();
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return api_call("cudaSetDevice", [&] {
    if (device < 0 || device >= device_count()) return cudaErrorInvalidDevice;
    chosen_device = device;
    return cudaSuccess;
  });
}
cudaError_t cudaGetDevice(int* device) {
  return api_call("cudaGetDevice", [&] {
    *device = chosen_device;
    return cudaSuccess;
  });
}
}
