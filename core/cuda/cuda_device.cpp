// SPDX-License-Identifier: Apache-2.0
// Memory, copies, and the order of streams; what launches kernels is in kernels.cu and dense_codec.cu.
#include "cuda_device.hpp"

#include <algorithm>

#include "onebit/cuda.hpp"

namespace onebit {
namespace {

using cuda::check;

// A tile's message is written by one kernel and read by the next three: a quarter of the cache for it leaves room for what
// streams past.
int64_t tile_elements_of(int ordinal) {
  constexpr int64_t least = 1 << 18, bytes_of_cache_an_element = 4 * sizeof(float);
  int cache = 0;
  check(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, ordinal), "cudaDeviceGetAttribute");
  return std::max(least, cache / bytes_of_cache_an_element);
}

}  // namespace

CudaDevice::CudaDevice(int32_t ordinal) {
  cuda::probe();
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  ordinal_ = ordinal % devices;
  use();
  tile_elements_ = tile_elements_of(ordinal_);
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
  stream_table_ = {sizeof(onebit_stream), {ONEBIT_DEVICE_CUDA, ordinal_}, stream_};
}

CudaDevice::~CudaDevice() {
  abandon();  // what was freed last is free then
  for (cudaEvent_t event : events_) (void)cudaEventDestroy(event);
  if (event_ != nullptr) (void)cudaEventDestroy(event_);
  if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
}

void CudaDevice::use() const { check(cudaSetDevice(ordinal_), "cudaSetDevice"); }

void* CudaDevice::allocate(size_t bytes) {
  use();
  void* memory = nullptr;
  const cudaError_t code = cudaMallocAsync(&memory, bytes, stream_);
  if (code == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw Error(Code::out_of_memory, "no memory on CUDA device " + std::to_string(ordinal_) + " for " + std::to_string(bytes) +
                                         " bytes; free what else uses the device, or take a smaller model");
  }
  check(code, "cudaMallocAsync");
  zero(memory, bytes);
  return memory;
}

// Not cudaFree, which waits for all streams of the device: another rank's may wait for this one.
void CudaDevice::release(void* memory, size_t) noexcept {
  (void)cudaSetDevice(ordinal_);
  (void)cudaFreeAsync(memory, stream_);
}

void CudaDevice::zero(void* memory, size_t bytes) { check(cudaMemsetAsync(memory, 0, bytes, stream_), "cudaMemsetAsync"); }

void CudaDevice::copy(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "cudaMemcpyAsync");
}

void* CudaDevice::allocate_staging(size_t bytes) {
  use();
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable), "cudaHostAlloc");
  return memory;
}
void CudaDevice::release_staging(void* memory) noexcept { (void)cudaFreeHost(memory); }

void CudaDevice::upload(void* to, const void* staging, size_t bytes) {
  check(cudaMemcpyAsync(to, staging, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync to the device");
}
void CudaDevice::download(void* staging, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(staging, from, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync to the host");
}
void CudaDevice::write(void* to, const void* from, size_t bytes) {
  use();
  upload(to, from, bytes);
  settle();
}
void CudaDevice::read(void* to, const void* from, size_t bytes) {
  use();
  download(to, from, bytes);
  settle();
}

void CudaDevice::settle() {
  use();
  check(cudaStreamSynchronize(stream_), "the work of a step on the CUDA device");
}
void CudaDevice::abandon() noexcept {
  (void)cudaSetDevice(ordinal_);
  (void)cudaStreamSynchronize(stream_);
}

void CudaDevice::follow(void* embedder) {
  use();
  check(cudaEventRecord(event_, static_cast<cudaStream_t>(embedder)), "cudaEventRecord on the embedder's stream");
  check(cudaStreamWaitEvent(stream_, event_, 0), "cudaStreamWaitEvent");
}
void CudaDevice::lead(void* embedder) {
  check(cudaEventRecord(event_, stream_), "cudaEventRecord");
  check(cudaStreamWaitEvent(static_cast<cudaStream_t>(embedder), event_, 0), "cudaStreamWaitEvent of the embedder's stream");
}

void CudaDevice::allocate_events(size_t count) {
  use();
  while (events_.size() < count) {
    cudaEvent_t made = nullptr;
    check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "cudaEventCreate");
    events_.push_back(made);
  }
}
void CudaDevice::record(size_t event, void* embedder) {
  use();
  check(cudaEventRecord(events_[event], static_cast<cudaStream_t>(embedder)), "cudaEventRecord on a gradient's stream");
}
void CudaDevice::await(size_t event) {
  use();
  check(cudaStreamWaitEvent(stream_, events_[event], 0), "cudaStreamWaitEvent");
}

}  // namespace onebit
