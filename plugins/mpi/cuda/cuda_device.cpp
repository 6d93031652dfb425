// SPDX-License-Identifier: Apache-2.0
// Pinned memory, copies and events of the CUDA runtime; and what MPI says about CUDA.
#include "cuda_device.hpp"

#include <cuda_runtime.h>
#include <mpi.h>
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

#include <string>

#include "../memory.hpp"
#include "onebit/cuda.hpp"
#include "onebit/error.hpp"

namespace onebit::mpi {
namespace {

void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  throw Error(code == cudaErrorMemoryAllocation ? Code::out_of_memory : Code::unavailable,
              std::string(call) + " failed: " + cudaGetErrorString(code), static_cast<int32_t>(code));
}

class CudaDevice final : public Device {
 public:
  int32_t type() const override { return ONEBIT_DEVICE_CUDA; }
  void* allocate(size_t bytes) override {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable), "cudaHostAlloc");
    return memory;
  }
  void release(void* memory) noexcept override { cudaFreeHost(memory); }
  void to_host(void* to, const void* from, size_t bytes, const onebit_stream* stream) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, of(stream)), "cudaMemcpyAsync to the host");
  }
  void to_device(void* to, const void* from, size_t bytes, const onebit_stream* stream) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, of(stream)), "cudaMemcpyAsync to the device");
  }
  Mark mark(const onebit_stream* stream) override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync), "cudaEventCreate");
    check(cudaEventRecord(event, of(stream)), "cudaEventRecord");
    return event;
  }
  void wait(Mark mark) override {
    const cudaError_t code = cudaEventSynchronize(static_cast<cudaEvent_t>(mark));
    cudaEventDestroy(static_cast<cudaEvent_t>(mark));
    check(code, "cudaEventSynchronize");
  }

 private:
  // The contract forbids the default stream: every call on device memory names its own.
  static cudaStream_t of(const onebit_stream* stream) {
    if (stream == nullptr || stream->handle == nullptr)
      throw Error(Code::invalid_argument, "a collective on device memory needs a stream: onebit_call.stream is missing");
    return static_cast<cudaStream_t>(stream->handle);
  }
};

}  // namespace

// Only where MPI takes device memory does a pointer to it come here; its copies are small, and wait for nothing else's.
void copy_bytes(void* to, const void* from, size_t bytes) {
  thread_local cudaStream_t own = nullptr;
  if (own == nullptr) check(cudaStreamCreateWithFlags(&own, cudaStreamNonBlocking), "cudaStreamCreate");
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, own), "cudaMemcpyAsync");
  check(cudaStreamSynchronize(own), "cudaStreamSynchronize");
}

void probe_cuda() { cuda::probe(); }

std::shared_ptr<Device> cuda_device() { return std::make_shared<CudaDevice>(); }

bool mpi_is_cuda_aware() {
#if defined(MPIX_CUDA_AWARE_SUPPORT) || defined(MPICH_VERSION)
  return MPIX_Query_cuda_support() == 1;
#else
  return false;
#endif
}

}  // namespace onebit::mpi
