// SPDX-License-Identifier: Apache-2.0
// For authors of CUDA components: errors, streams and kernel launches. What calls it includes CUDA's headers; the rest of the
// SDK does not.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "onebit/abi.h"
#include "onebit/error.hpp"

namespace onebit::cuda {

inline void check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  throw Error(code == cudaErrorMemoryAllocation ? Code::out_of_memory : Code::device_error,
              std::string(what) + " failed: " + cudaGetErrorString(code), static_cast<int32_t>(code));
}

// The contract forbids the default stream: every call on device memory names its own.
inline cudaStream_t stream_of(const onebit_stream* stream) {
  if (stream == nullptr || stream->handle == nullptr)
    throw Error(Code::invalid_argument, "a call on device memory names no stream: onebit_stream.handle is NULL");
  return static_cast<cudaStream_t>(stream->handle);
}

// Throws Error(unavailable) where nothing can run here: no driver, one too old for this runtime, or no device.
inline void probe() {
  int devices = 0, driver = 0, runtime = 0;
  const cudaError_t code = cudaGetDeviceCount(&devices);
  if (code != cudaSuccess) (void)cudaGetLastError();  // else it would be told again, of another call
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    throw Error(Code::unavailable, "no CUDA device can be used: there is no NVIDIA driver");
  const auto text = [](int version) { return std::to_string(version / 1000) + '.' + std::to_string(version % 1000 / 10); };
  if (code == cudaErrorInsufficientDriver && cudaRuntimeGetVersion(&runtime) == cudaSuccess)
    throw Error(Code::unavailable, "no CUDA device can be used: the NVIDIA driver knows CUDA " + text(driver) +
                                       " and is too old for CUDA " + text(runtime) + ", which this was built with");
  if (code != cudaSuccess)
    throw Error(Code::unavailable, std::string("no CUDA device can be used: ") + cudaGetErrorString(code));
  if (devices == 0) throw Error(Code::unavailable, "no CUDA device can be used: there is none");
}

// One dimension; 0 blocks: nothing.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int threads, cudaStream_t stream, const Arguments&... arguments) {
  if (blocks == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), "a kernel's launch");
}

}  // namespace onebit::cuda
