// For components on CUDA: errors of the runtime as ours, the stream of a call, and launches without <<<>>>, which compilers
// other than nvcc can read as well.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "onebit/abi.h"
#include "onebit/error.hpp"

namespace onebit::cuda {

// Throws unless all is well; what: the call, or what was being done.
inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  const Code code = error == cudaErrorMemoryAllocation ? Code::out_of_memory : Code::device_error;
  throw Error(code, std::string(what) + " failed: " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")",
              static_cast<int32_t>(error));
}

// The contract forbids the default stream: every call on device memory names its own.
inline cudaStream_t stream_of(const onebit_stream* stream) {
  if (stream == nullptr || stream->handle == nullptr)
    throw Error(Code::invalid_argument, "a call on device memory needs a stream of its own, but it has none");
  return static_cast<cudaStream_t>(stream->handle);
}

// Why nothing can run here: what probe() of a component calls.
inline void probe() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  (void)cudaGetLastError();  // nobody else shall find it
  if (error != cudaSuccess)
    throw Error(Code::unavailable, std::string("no CUDA device can be used: ") + cudaGetErrorString(error));
  if (devices == 0) throw Error(Code::unavailable, "there is no CUDA device");
}

// Runs kernel(args...) in the stream, on that many blocks of that many threads; no blocks: nothing.
template <class... P, class... A>
void launch(void (*kernel)(P...), int64_t blocks, int threads, cudaStream_t stream, const A&... args) {
  if (blocks == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, args...), "a kernel launch");
}

}  // namespace onebit::cuda
