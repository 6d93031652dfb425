// SPDX-License-Identifier: Apache-2.0
// Memory: the CPU's, remembered as what it stands for.
#include "memory.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "cuda_runtime_api.h"
#include "runtime.hpp"
#include "streams.hpp"

namespace onebit::cuda_on_cpu {
namespace {

constexpr size_t alignment = 512;   // as cudaMalloc's is on all devices of today
constexpr int not_a_number = 0xFF;  // in every byte: NaN in each type of floating point, -1 in each integer

struct Allocation {
  size_t bytes;
  cudaMemoryType type;
  int device;
};

// Guarded by runtime_mutex().
std::map<uintptr_t, Allocation>& table() {
  static auto& table = *new std::map<uintptr_t, Allocation>;
  return table;
}

void count(const Allocation& allocation, int sign) {
  Counters& now = live_counters();
  const int64_t bytes = sign * static_cast<int64_t>(allocation.bytes);
  const bool on_device = allocation.type == cudaMemoryTypeDevice;
  (on_device ? now.device_bytes : now.pinned_bytes) += bytes;
  (on_device ? now.device_blocks : now.pinned_blocks) += sign;
  if (sign > 0) ++(on_device ? now.device_allocations : now.pinned_allocations);
}

bool exceeds(const Allocation& wanted) {
  if (wanted.type != cudaMemoryTypeDevice) return wanted.bytes > SIZE_MAX / 4;
  size_t used = 0;
  for (const auto& entry : table())
    if (entry.second.type == wanted.type && entry.second.device == wanted.device) used += entry.second.bytes;
  return wanted.bytes > device_memory() || used > device_memory() - wanted.bytes;
}

cudaError_t allocate(void** address, size_t bytes, cudaMemoryType type) {
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  const Allocation made = {bytes, type, current_device()};
  const std::lock_guard<std::mutex> lock(runtime_mutex());
  if (exceeds(made)) return cudaErrorMemoryAllocation;
  void* memory = nullptr;
  // exactly as many bytes as were asked for, so that a sanitizer sees who goes beyond
  if (posix_memalign(&memory, alignment, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(memory, not_a_number, bytes);
  table()[reinterpret_cast<uintptr_t>(memory)] = made;
  count(made, 1);
  *address = memory;
  return cudaSuccess;
}

// Takes what starts at address out of the table; false: there is no such allocation.
bool forget(void* address, cudaMemoryType type) {
  const std::lock_guard<std::mutex> lock(runtime_mutex());
  const auto found = table().find(reinterpret_cast<uintptr_t>(address));
  if (found == table().end() || found->second.type != type) return false;
  count(found->second, -1);
  std::memset(address, not_a_number, found->second.bytes);
  table().erase(found);
  return true;
}

cudaError_t release(void* address, cudaMemoryType type) {
  if (address == nullptr) return cudaSuccess;
  const Place place = place_of(address, 1);
  if (place.type != type) return cudaErrorInvalidValue;
  wait_for_device(place.device);  // as CUDA does
  if (!forget(address, type)) return cudaErrorInvalidValue;
  std::free(address);
  return cudaSuccess;
}

}  // namespace

Place place_of(const void* address, size_t bytes) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  const std::lock_guard<std::mutex> lock(runtime_mutex());
  auto after = table().upper_bound(wanted);
  if (after == table().begin()) return {};
  const auto& [start, allocation] = *std::prev(after);
  const size_t offset = wanted - start;
  if (offset >= allocation.bytes) return {};
  return {allocation.type, allocation.device, bytes <= allocation.bytes - offset};
}

}  // namespace onebit::cuda_on_cpu

using namespace onebit::cuda_on_cpu;

extern "C" {

cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  return api_call("cudaMemGetInfo", [&] {
    *total = device_memory();
    *available = *total - static_cast<size_t>(counters().device_bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** address, size_t size) {
  return api_call("cudaMalloc", [&] { return allocate(address, size, cudaMemoryTypeDevice); });
}
cudaError_t cudaFree(void* address) {
  return api_call("cudaFree", [&] { return release(address, cudaMemoryTypeDevice); });
}

cudaError_t cudaMallocAsync(void** address, size_t size, cudaStream_t stream) {
  return api_call("cudaMallocAsync", [&] {
    if (find_stream(stream) == nullptr) return cudaErrorInvalidResourceHandle;
    return allocate(address, size, cudaMemoryTypeDevice);
  });
}
cudaError_t cudaFreeAsync(void* address, cudaStream_t handle) {
  return api_call("cudaFreeAsync", [&] {
    const StreamPointer stream = find_stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (address == nullptr) return cudaSuccess;
    if (place_of(address, 1).type != cudaMemoryTypeDevice) return cudaErrorInvalidValue;
    stream->push_always([address] {
      if (forget(address, cudaMemoryTypeDevice)) std::free(address);
    });
    return cudaSuccess;
  });
}

cudaError_t cudaHostAlloc(void** address, size_t size, unsigned int flags) {
  return api_call("cudaHostAlloc", [&] {
    if (flags > (cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined)) return cudaErrorInvalidValue;
    return allocate(address, size, cudaMemoryTypeHost);
  });
}
cudaError_t cudaMallocHost(void** address, size_t size) {
  return api_call("cudaMallocHost", [&] { return allocate(address, size, cudaMemoryTypeHost); });
}
cudaError_t cudaFreeHost(void* address) {
  return api_call("cudaFreeHost", [&] { return release(address, cudaMemoryTypeHost); });
}
cudaError_t cudaHostGetDevicePointer(void** on_device, void* on_host, unsigned int) {
  return api_call("cudaHostGetDevicePointer", [&] {
    if (place_of(on_host, 1).type != cudaMemoryTypeHost) return cudaErrorInvalidValue;
    *on_device = on_host;
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  return api_call("cudaPointerGetAttributes", [&] {
    const Place place = place_of(address, 1);
    const bool known = place.type != cudaMemoryTypeUnregistered;
    *attributes = {place.type, place.device, nullptr, nullptr};
    if (known) attributes->devicePointer = const_cast<void*>(address);
    if (place.type == cudaMemoryTypeHost) attributes->hostPointer = const_cast<void*>(address);
    return cudaSuccess;
  });
}
}
