// SPDX-License-Identifier: Apache-2.0
// For tests on CUDA, emulated or real: a stream, an array in device memory, a launch.
#pragma once

#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace onebit::test {

class TestStream {
 public:
  TestStream() { REQUIRE(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess); }
  ~TestStream() { cudaStreamDestroy(stream_); }
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;
  operator cudaStream_t() const { return stream_; }  // NOLINT(google-explicit-constructor): it stands for its handle

 private:
  cudaStream_t stream_ = nullptr;
};

// An array in device memory, between NaNs. shift: elements by which it is moved off the allocation's alignment.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size, size_t shift = 0) : size_(size), first_(margin + shift) {
    const size_t bytes = (size + 2 * first_) * sizeof(T);
    REQUIRE(cudaMalloc(&memory_, bytes) == cudaSuccess);
    const TestStream stream;
    REQUIRE(cudaMemsetAsync(memory_, 0xFF, bytes, stream) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  }
  explicit DeviceArray(const std::vector<T>& values, size_t shift = 0) : DeviceArray(values.size(), shift) { set(values); }
  ~DeviceArray() { cudaFree(memory_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return memory_ + first_; }
  size_t size() const { return size_; }
  void set(const std::vector<T>& values) {
    const TestStream stream;
    REQUIRE(cudaMemcpyAsync(data(), values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice, stream) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  }
  // As it is now: whoever writes it must have been waited for.
  std::vector<T> get() const { return read(data(), size_); }
  bool intact() const {
    for (const T* beside : {memory_, data() + size_})
      for (const unsigned char byte : bytes_of(read(beside, first_)))
        if (byte != 0xFF) return false;
    return true;
  }

 private:
  static constexpr size_t margin = 64;
  static std::vector<T> read(const T* from, size_t count) {
    const TestStream stream;
    std::vector<T> values(count);
    REQUIRE(cudaMemcpyAsync(values.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    return values;
  }
  static std::vector<unsigned char> bytes_of(const std::vector<T>& values) {
    const auto* first = reinterpret_cast<const unsigned char*>(values.data());
    return {first, first + values.size() * sizeof(T)};
  }

  size_t size_, first_;
  T* memory_ = nullptr;
};

template <class... P, class... A>
void launch(cudaStream_t stream, unsigned blocks, int threads, void (*kernel)(P...), A... args) {
  const cudaLaunchConfig_t config = {blocks, static_cast<unsigned>(threads), 0, stream, nullptr, 0};
  REQUIRE(cudaLaunchKernelEx(&config, kernel, args...) == cudaSuccess);
}

}  // namespace onebit::test
