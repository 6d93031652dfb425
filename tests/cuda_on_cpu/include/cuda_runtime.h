// SPDX-License-Identifier: Apache-2.0
// Stands in for CUDA's header of the same name: the runtime, and what kernels are written in. __CUDACC__ stays undefined, so
// that code for both devices is compiled as for the CPU.
#pragma once

#include <math.h>

#include "cuda_on_cpu/atomics.h"
#include "cuda_on_cpu/intrinsics.h"
#include "cuda_on_cpu/kernel.h"
#include "cuda_on_cpu/launch.h"
#include "cuda_on_cpu/warp.h"
#include "cuda_runtime_api.h"
#include "vector_functions.h"

template <class T>
cudaError_t cudaMalloc(T** pointer, size_t size) {
  return cudaMalloc(reinterpret_cast<void**>(pointer), size);
}
template <class T>
cudaError_t cudaMallocAsync(T** pointer, size_t size, cudaStream_t stream) {
  return cudaMallocAsync(reinterpret_cast<void**>(pointer), size, stream);
}
template <class T>
cudaError_t cudaMallocHost(T** pointer, size_t size, unsigned int flags = cudaHostAllocDefault) {
  return cudaHostAlloc(reinterpret_cast<void**>(pointer), size, flags);
}
template <class T>
cudaError_t cudaHostAlloc(T** pointer, size_t size, unsigned int flags) {
  return cudaHostAlloc(reinterpret_cast<void**>(pointer), size, flags);
}
