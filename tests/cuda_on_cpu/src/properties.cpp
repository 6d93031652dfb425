// SPDX-License-Identifier: Apache-2.0
// What the devices say of themselves: something like an A100, whatever the CPU is.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "cuda_runtime_api.h"
#include "runtime.hpp"

using namespace onebit::cuda_on_cpu;

namespace {

constexpr int l2_bytes = 40 << 20, processors = 108, threads_a_block = 1024, threads_a_processor = 2048;
constexpr size_t shared_bytes = 48 << 10;

bool is_device(int device) { return device >= 0 && device < device_count(); }

cudaError_t attribute(int* value, cudaDeviceAttr which) {
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock:
      return *value = threads_a_block, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return *value = static_cast<int>(shared_bytes), cudaSuccess;
    case cudaDevAttrWarpSize:
      return *value = 32, cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      return *value = processors, cudaSuccess;
    case cudaDevAttrIntegrated:
      return *value = 0, cudaSuccess;
    case cudaDevAttrL2CacheSize:
      return *value = l2_bytes, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return *value = threads_a_processor, cudaSuccess;
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrMemoryPoolsSupported:
      return *value = 1, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      return *value = 8, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = 0, cudaSuccess;
  }
  return cudaErrorInvalidValue;
}

}  // namespace

extern "C" {

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attr, int device) {
  return api_call("cudaDeviceGetAttribute",
                  [&] { return is_device(device) ? attribute(value, attr) : cudaErrorInvalidDevice; });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* prop, int device) {
  return api_call("cudaGetDeviceProperties", [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    *prop = {};
    std::snprintf(prop->name, sizeof prop->name, "CUDA on the CPU");
    std::memset(prop->uuid.bytes, device + 1, sizeof prop->uuid.bytes);
    prop->totalGlobalMem = device_memory();
    prop->sharedMemPerBlock = shared_bytes;
    prop->warpSize = 32;
    prop->maxThreadsPerBlock = threads_a_block;
    prop->major = 8;
    prop->multiProcessorCount = processors;
    prop->pciBusID = device + 1;
    prop->unifiedAddressing = 1;
    prop->memoryBusWidth = 5120;
    prop->l2CacheSize = l2_bytes;
    prop->maxThreadsPerMultiProcessor = threads_a_processor;
    return cudaSuccess;
  });
}
}
