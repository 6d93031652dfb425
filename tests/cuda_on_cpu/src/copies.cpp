// SPDX-License-Identifier: Apache-2.0
// Copies and fills, in the order of a stream. As with CUDA, what comes from pageable memory is read before the call returns,
// and what goes to it is there when the call returns; pinned memory is read and written late.
#include <cstring>
#include <memory>
#include <vector>

#include "cuda_runtime_api.h"
#include "memory.hpp"
#include "runtime.hpp"
#include "streams.hpp"

using namespace onebit::cuda_on_cpu;

namespace {

bool is_device(const Place& place) { return place.type == cudaMemoryTypeDevice; }

cudaError_t check(const Place& to, const Place& from, cudaMemcpyKind kind) {
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  if (!to.fits || !from.fits) return cudaErrorInvalidValue;
  if (kind == cudaMemcpyDefault) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return is_device(to) == to_device && is_device(from) == from_device ? cudaSuccess : cudaErrorInvalidValue;
}

void count_copy() {
  const std::lock_guard<std::mutex> lock(runtime_mutex());
  ++live_counters().copies;
}

cudaError_t copy(void* to, const void* from, size_t bytes, bool staged, bool waits, Stream& stream) {
  count_copy();
  if (staged) {
    const auto* first = static_cast<const char*>(from);
    stream.push(
        [=, stage = std::make_shared<std::vector<char>>(first, first + bytes)] { std::memcpy(to, stage->data(), bytes); });
  } else {
    stream.push([=] { std::memcpy(to, from, bytes); });
  }
  return waits ? wait_for(stream) : cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle) {
  return api_call("cudaMemcpyAsync", [&] {
    const StreamPointer stream = find_stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (bytes == 0) return cudaSuccess;
    const Place target = place_of(to, bytes), source = place_of(from, bytes);
    const cudaError_t error = check(target, source, kind);
    if (error != cudaSuccess) return error;
    return copy(to, from, bytes, source.type == cudaMemoryTypeUnregistered, target.type == cudaMemoryTypeUnregistered, *stream);
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t handle) {
  return api_call("cudaMemsetAsync", [&] {
    const StreamPointer stream = find_stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (bytes == 0) return cudaSuccess;
    const Place target = place_of(to, bytes);
    if (target.type == cudaMemoryTypeUnregistered || !target.fits) return cudaErrorInvalidValue;
    stream->push([=] { std::memset(to, value, bytes); });
    return cudaSuccess;
  });
}
}
