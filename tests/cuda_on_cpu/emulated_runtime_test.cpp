// SPDX-License-Identifier: Apache-2.0
// The emulation of CUDA on the CPU: devices, memory, streams and events, and what they refuse.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <future>
#include <limits>
#include <random>
#include <string>

#include "cuda_on_cpu/control.hpp"
#include "emulated_device.hpp"

namespace onebit::test {
namespace {

namespace emulation = cuda_on_cpu;

// Holds a stream up until it is opened.
class Gate {
 public:
  explicit Gate(cudaStream_t stream) {
    REQUIRE(emulation::enqueue(stream, [opened = open_.get_future().share()] { opened.wait(); }) == cudaSuccess);
  }
  void open() { open_.set_value(); }

 private:
  std::promise<void> open_;
};

class TestEvent {
 public:
  explicit TestEvent(unsigned flags = cudaEventDisableTiming) {
    REQUIRE(cudaEventCreateWithFlags(&event_, flags) == cudaSuccess);
  }
  ~TestEvent() { cudaEventDestroy(event_); }
  TestEvent(const TestEvent&) = delete;
  TestEvent& operator=(const TestEvent&) = delete;
  operator cudaEvent_t() const { return event_; }  // NOLINT(google-explicit-constructor): it stands for its handle

 private:
  cudaEvent_t event_ = nullptr;
};

class Pinned {
 public:
  explicit Pinned(int value) {
    REQUIRE(cudaHostAlloc(&memory_, sizeof(int), cudaHostAllocPortable) == cudaSuccess);
    *memory_ = value;
  }
  ~Pinned() { cudaFreeHost(memory_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  int* get() const { return memory_; }

 private:
  int* memory_ = nullptr;
};

// Rounded to a format whose smallest step is 2^smallest, and whose mantissa has `bits` bits.
double rounded(double value, int bits, int smallest) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double step = std::ldexp(1.0, std::max(std::ilogb(value) - bits, smallest));
  return std::nearbyint(value / step) * step;
}

}  // namespace

TEST_CASE("without a device or with an old driver, calls say so") {
  int count = 7;
  emulation::set_devices(0);
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  CHECK(std::string(cudaGetErrorString(cudaGetLastError())) == "no CUDA-capable device is detected");
  emulation::set_devices(2);
  emulation::set_driver(11040);
  CHECK(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
  CHECK(cudaDriverGetVersion(&count) == cudaSuccess);
  CHECK(count == 11040);
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, 1) == cudaErrorInsufficientDriver);
  emulation::set_driver(CUDART_VERSION);
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 2);
  emulation::set_devices(1);
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  CHECK(std::string(cudaGetErrorName(cudaGetLastError())) == "cudaErrorInvalidDevice");
  CHECK(std::string(cudaGetErrorString(static_cast<cudaError_t>(998))) == "unrecognized error code");  // in the enum's range
}

TEST_CASE("what a device says of itself") {
  cudaDeviceProp properties;
  int value = 0;
  REQUIRE(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  CHECK(properties.major == 8);
  CHECK(properties.warpSize == 32);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrL2CacheSize, 0) == cudaSuccess);
  CHECK(value == properties.l2CacheSize);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0) == cudaSuccess);
  CHECK(value == properties.multiProcessorCount);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 1) == cudaErrorInvalidDevice);
}

TEST_CASE("memory: filled with NaN, known by address, counted, and freed once") {
  const emulation::Counters before = emulation::counters();
  float* memory = nullptr;
  REQUIRE(cudaMalloc(&memory, 10 * sizeof(float)) == cudaSuccess);
  for (int i = 0; i < 10; ++i) CHECK(std::isnan(memory[i]));
  emulation::Counters now = emulation::counters();
  CHECK(now.device_bytes - before.device_bytes == 40);
  CHECK(now.device_blocks - before.device_blocks == 1);
  CHECK(now.device_allocations - before.device_allocations == 1);
  cudaPointerAttributes attributes{};
  CHECK(cudaPointerGetAttributes(&attributes, memory + 9) == cudaSuccess);
  CHECK(attributes.type == cudaMemoryTypeDevice);
  CHECK(attributes.devicePointer == memory + 9);
  CHECK(cudaPointerGetAttributes(&attributes, &before) == cudaSuccess);
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  CHECK(cudaFree(memory + 1) == cudaErrorInvalidValue);
  CHECK(cudaFreeHost(memory) == cudaErrorInvalidValue);
  CHECK(cudaFree(memory) == cudaSuccess);
  CHECK(cudaFree(memory) == cudaErrorInvalidValue);
  CHECK(cudaFree(nullptr) == cudaSuccess);
  now = emulation::counters();
  CHECK(now.device_bytes == before.device_bytes);
  CHECK(now.device_allocations - before.device_allocations == 1);
}

TEST_CASE("pinned memory is known as such") {
  const int64_t before = emulation::counters().pinned_bytes;
  const Pinned pinned(3);
  CHECK(emulation::counters().pinned_bytes - before == sizeof(int));
  cudaPointerAttributes attributes{};
  CHECK(cudaPointerGetAttributes(&attributes, pinned.get()) == cudaSuccess);
  CHECK(attributes.type == cudaMemoryTypeHost);
  void* on_device = nullptr;
  CHECK(cudaHostGetDevicePointer(&on_device, pinned.get(), 0) == cudaSuccess);
  CHECK(on_device == pinned.get());
  CHECK(cudaFree(pinned.get()) == cudaErrorInvalidValue);
}

TEST_CASE("a device has so much memory and no more, and a test may let any call fail") {
  emulation::set_device_memory(1000);
  void *first = nullptr, *second = nullptr;
  CHECK(cudaMalloc(&first, 600) == cudaSuccess);
  CHECK(cudaMalloc(&second, 600) == cudaErrorMemoryAllocation);
  CHECK(cudaFree(first) == cudaSuccess);
  CHECK(cudaMalloc(&first, 600) == cudaSuccess);
  CHECK(cudaFree(first) == cudaSuccess);
  emulation::set_device_memory(size_t{1} << 33U);
  emulation::fail_next("cudaMalloc", cudaErrorLaunchFailure);
  CHECK(cudaMalloc(&first, 600) == cudaErrorLaunchFailure);
  CHECK(cudaMalloc(&first, 600) == cudaSuccess);
  CHECK(cudaFree(first) == cudaSuccess);
}

TEST_CASE("copies: pageable memory at once, pinned memory late") {
  const TestStream stream;
  DeviceArray<int> device(2);
  Pinned pinned(1), back(0);
  int pageable = 1;
  Gate gate(stream);
  CHECK(cudaMemcpyAsync(device.data(), &pageable, sizeof(int), cudaMemcpyHostToDevice, stream) == cudaSuccess);
  CHECK(cudaMemcpyAsync(device.data() + 1, pinned.get(), sizeof(int), cudaMemcpyHostToDevice, stream) == cudaSuccess);
  CHECK(cudaMemcpyAsync(back.get(), device.data(), sizeof(int), cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  pageable = *pinned.get() = 2;
  CHECK(*back.get() == 0);
  CHECK(cudaStreamQuery(stream) == cudaErrorNotReady);
  gate.open();
  int read[2] = {};
  const int64_t waits = emulation::counters().waits;
  CHECK(cudaMemcpyAsync(read, device.data(), sizeof read, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  CHECK(emulation::counters().waits == waits + 1);
  CHECK(read[0] == 1);
  CHECK(read[1] == 2);
  CHECK(*back.get() == 1);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(cudaStreamQuery(stream) == cudaSuccess);
}

TEST_CASE("copies that go beyond an allocation, or not where they say, are refused") {
  const TestStream stream;
  int *device = nullptr, host[8] = {};
  REQUIRE(cudaMalloc(&device, 16) == cudaSuccess);
  CHECK(cudaMemcpyAsync(device, host, 20, cudaMemcpyHostToDevice, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(host, device + 3, 8, cudaMemcpyDefault, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(host, device, 8, cudaMemcpyHostToDevice, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(device, host, 8, cudaMemcpyDeviceToDevice, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(host, 0, 8, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(device + 2, 0, 12, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(device, 1, 16, stream) == cudaSuccess);
  CHECK(cudaMemcpyAsync(host, device, 16, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  CHECK(host[3] == 0x01010101);
  CHECK(cudaFree(device) == cudaSuccess);
}

TEST_CASE("memory that comes and goes in a stream's order") {
  const TestStream stream;
  int* memory = nullptr;
  const int64_t before = emulation::counters().device_bytes;
  REQUIRE(cudaMallocAsync(&memory, 4, stream) == cudaSuccess);
  Gate gate(stream);
  CHECK(cudaMemsetAsync(memory, 0, 4, stream) == cudaSuccess);
  CHECK(cudaFreeAsync(memory, stream) == cudaSuccess);
  CHECK(emulation::counters().device_bytes == before + 4);
  gate.open();
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(emulation::counters().device_bytes == before);
}

TEST_CASE("streams: the default one is refused, but for events, and a handle that is gone is known to be") {
  DeviceArray<int> device(1);
  CHECK(cudaMemsetAsync(device.data(), 0, 4, nullptr) == cudaErrorInvalidResourceHandle);
  CHECK(cudaStreamSynchronize(nullptr) == cudaErrorInvalidResourceHandle);
  CHECK(cudaStreamSynchronize(cudaStreamLegacy) == cudaErrorInvalidResourceHandle);
  cudaStream_t stream = nullptr;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamDefault) == cudaErrorInvalidValue);
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
  CHECK(cudaStreamDestroy(stream) == cudaErrorInvalidResourceHandle);
  CHECK(cudaStreamQuery(stream) == cudaErrorInvalidResourceHandle);
}

TEST_CASE("streams: what was given to one is done, even when it is destroyed first") {
  DeviceArray<int> device(std::vector<int>{0});
  const TestEvent done;
  {
    const TestStream stream;
    CHECK(cudaMemsetAsync(device.data(), 0x11, 4, stream) == cudaSuccess);
    CHECK(cudaEventRecord(done, stream) == cudaSuccess);
  }
  CHECK(cudaEventSynchronize(done) == cudaSuccess);
  CHECK(device.get()[0] == 0x11111111);
}

TEST_CASE("events order streams, as they were when they were recorded") {
  const TestStream first, second;
  const TestEvent event;
  DeviceArray<int> device(std::vector<int>{0, 0});
  CHECK(cudaEventQuery(event) == cudaSuccess);  // never recorded: nobody waits for it
  CHECK(cudaStreamWaitEvent(second, event) == cudaSuccess);
  Gate gate(first);
  CHECK(cudaMemsetAsync(device.data(), 1, 4, first) == cudaSuccess);
  CHECK(cudaEventRecord(event, first) == cudaSuccess);
  CHECK(cudaEventQuery(event) == cudaErrorNotReady);
  CHECK(cudaStreamWaitEvent(second, event) == cudaSuccess);
  CHECK(cudaMemcpyAsync(device.data() + 1, device.data(), 4, cudaMemcpyDeviceToDevice, second) == cudaSuccess);
  CHECK(cudaStreamQuery(second) == cudaErrorNotReady);
  const TestStream third;
  CHECK(cudaEventRecord(event, third) == cudaSuccess);  // second still waits for first
  CHECK(cudaEventSynchronize(event) == cudaSuccess);
  gate.open();
  CHECK(cudaStreamSynchronize(second) == cudaSuccess);
  CHECK(device.get() == std::vector<int>(2, 0x01010101));
}

TEST_CASE("events: the default stream can be waited for, and can wait, and the application may use it") {
  const TestStream own;
  const TestEvent made, used;
  DeviceArray<int> gradient(std::vector<int>{0}), parameter(std::vector<int>{0});
  std::promise<void> open;
  {
    const emulation::DefaultStreamAllowed allowed;
    CHECK(emulation::enqueue(nullptr, [opened = open.get_future().share()] { opened.wait(); }) == cudaSuccess);
    CHECK(cudaMemsetAsync(gradient.data(), 1, 4, nullptr) == cudaSuccess);
  }
  CHECK(cudaEventRecord(made, nullptr) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(own, made) == cudaSuccess);
  CHECK(cudaMemcpyAsync(parameter.data(), gradient.data(), 4, cudaMemcpyDeviceToDevice, own) == cudaSuccess);
  CHECK(cudaEventRecord(used, own) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(cudaStreamLegacy, used) == cudaSuccess);
  open.set_value();
  const emulation::DefaultStreamAllowed allowed;
  int read = 0;
  CHECK(cudaMemcpyAsync(&read, parameter.data(), 4, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
  CHECK(read == 0x01010101);
}

TEST_CASE("events: times, and what has none") {
  const TestStream stream;
  const TestEvent start(cudaEventDefault), end(cudaEventDefault), untimed;
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaErrorInvalidResourceHandle);
  CHECK(cudaEventRecord(start, stream) == cudaSuccess);
  Gate gate(stream);
  CHECK(cudaEventRecord(end, stream) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaErrorNotReady);
  gate.open();
  CHECK(cudaEventSynchronize(end) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaSuccess);
  CHECK(milliseconds >= 0);
  CHECK(cudaEventElapsedTime(&milliseconds, start, untimed) == cudaErrorInvalidResourceHandle);
}

TEST_CASE("several devices: streams, events and memory belong to one") {
  emulation::set_devices(2);
  const TestStream first;
  const TestEvent event;
  REQUIRE(cudaSetDevice(1) == cudaSuccess);
  {
    const TestStream second;
    DeviceArray<int> memory(1);
    cudaPointerAttributes attributes{};
    CHECK(cudaPointerGetAttributes(&attributes, memory.data()) == cudaSuccess);
    CHECK(attributes.device == 1);
    CHECK(cudaEventRecord(event, second) == cudaErrorInvalidResourceHandle);
    CHECK(cudaEventRecord(event, first) == cudaSuccess);
    CHECK(cudaStreamWaitEvent(second, event) == cudaSuccess);
  }
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  emulation::set_devices(1);
}

TEST_CASE("half and bfloat16 round to nearest even, and come back") {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto stored = static_cast<unsigned short>(bits);
    const float half = __half2float(__ushort_as_half(stored)), bfloat = __bfloat162float(__ushort_as_bfloat16(stored));
    REQUIRE(__half_as_ushort(__float2half_rn(half)) == (std::isnan(half) ? 0x7FFF : stored));
    REQUIRE(__bfloat16_as_ushort(__float2bfloat16_rn(bfloat)) == (std::isnan(bfloat) ? 0x7FFF : stored));
  }
  std::mt19937 generator(1);
  for (int i = 0; i < 200000; ++i) {
    float value = 0;
    const uint32_t bits = i % 2 == 0 ? generator() : 0x33000000 + generator() % 0x14800000;  // the latter: within half's range
    std::memcpy(&value, &bits, sizeof value);
    if (std::isnan(value)) continue;
    const double half = rounded(value, 10, -24), bfloat = rounded(value, 7, -133);
    const float infinity = std::numeric_limits<float>::infinity();
    REQUIRE(__half2float(__float2half_rn(value)) ==
            (std::fabs(half) >= 65536 ? std::copysign(infinity, value) : static_cast<float>(half)));
    REQUIRE(__bfloat162float(__float2bfloat16_rn(value)) == static_cast<float>(bfloat));
  }
}

}  // namespace onebit::test
