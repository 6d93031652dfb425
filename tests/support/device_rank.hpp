// SPDX-License-Identifier: Apache-2.0
// A communicator of device memory as the conformance cases see one: they bring host memory, and look at results when wait has
// returned. Staged through memory of the current device on a stream of its own, with nothing waited for in between, so that a
// communicator which does not keep to the order of streams moves other bytes.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <list>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "onebit/collectives/collective_arguments.hpp"
#include "onebit/communicator.hpp"
#include "onebit/cuda.hpp"

namespace onebit::test {

// Memory in the order of a stream: cudaFree would wait for the whole device, and so for other ranks.
class DeviceMemory {
 public:
  DeviceMemory(int64_t bytes, cudaStream_t stream) : stream_(stream) {
    if (bytes > 0) cuda::check(cudaMallocAsync(&data_, static_cast<size_t>(bytes), stream), "cudaMallocAsync");
  }
  DeviceMemory(DeviceMemory&& other) noexcept : stream_(other.stream_), data_(std::exchange(other.data_, nullptr)) {}
  DeviceMemory& operator=(DeviceMemory&&) = delete;
  ~DeviceMemory() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
  }
  char* data() const { return static_cast<char*>(data_); }

 private:
  cudaStream_t stream_;
  void* data_ = nullptr;
};

class OwnStream {
 public:
  OwnStream() { cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  ~OwnStream() { cudaStreamDestroy(stream_); }
  cudaStream_t get() const { return stream_; }
  void copy(void* to, const void* from, int64_t bytes) const {
    if (bytes > 0)
      cuda::check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream_), "cudaMemcpyAsync");
  }
  void finish() const { cuda::check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

class DeviceRank final : public Communicator {
 public:
  explicit DeviceRank(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {
    cuda::check(cudaGetDevice(&device_), "cudaGetDevice");
    handle_ = {sizeof(onebit_stream), {ONEBIT_DEVICE_CUDA, device_}, stream_.get()};
  }
  ~DeviceRank() override {
    inner_.reset();  // before the memory that it moves
    cudaStreamSynchronize(stream_.get());
  }
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  uint64_t machine() const override { return inner_->machine(); }
  Communicator& inner() { return *inner_; }
  const onebit_stream& stream() const { return handle_; }
  const OwnStream& own_stream() const { return stream_; }
  cudaStream_t stream_of() const { return stream_.get(); }

  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override {
    Staged& staged = begin();
    Tensor from = on_device(staged, in), to = in.data == out.data ? from : on_device(staged, out);
    return post(staged, [&] { return inner_->all_reduce(from, to, op, with_stream(call)); });
  }
  Request* broadcast(Tensor& io, int root, const Call& call) override {
    Staged& staged = begin();
    Tensor there = on_device(staged, io);
    return post(staged, [&] { return inner_->broadcast(there, root, with_stream(call)); });
  }
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override {
    Staged& staged = begin();
    const int64_t bytes = extent(out_parts), own = out_parts[rank()].bytes;
    const int64_t place = static_cast<const char*>(in) - static_cast<char*>(out);
    char* to = stage(staged, out, bytes, true);
    const bool inside = in != nullptr && place >= 0 && place < bytes;
    const char* from = inside ? to + place : stage(staged, const_cast<void*>(in), std::max<int64_t>(own, 0), false);
    return post(staged, [&] { return inner_->all_gather(from, to, out_parts, with_stream(call)); });
  }
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override {
    Staged& staged = begin();
    char* from = stage(staged, const_cast<void*>(in), extent(in_parts), false);
    char* to = stage(staged, out, extent(out_parts), true);
    return post(staged, [&] { return inner_->all_to_all(from, in_parts, to, out_parts, with_stream(call)); });
  }
  void barrier(const Call& call) override { inner_->barrier(call); }

  bool test(Request* request) override { return inner_->test(static_cast<Staged*>(request)->inner); }
  // Asks until it is finished, as a host does that wants to know how it went; then looks at what the stream brings.
  void wait(Request* request, int64_t timeout_ns) override {
    Staged& staged = *static_cast<Staged*>(request);
    while (!inner_->test(staged.inner)) std::this_thread::sleep_for(std::chrono::microseconds(50));
    finish(staged, timeout_ns);
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    std::unique_ptr<Communicator> part = inner_->split(color, key);
    return part ? std::make_unique<DeviceRank>(std::move(part)) : nullptr;
  }
  void abort(std::string_view reason) override { inner_->abort(reason); }

 private:
  struct Back {
    void* to;
    const char* from;
    int64_t bytes;
  };
  struct Staged final : Request {
    Request* inner = nullptr;
    std::vector<DeviceMemory> memory;
    std::vector<Back> back;
  };

  Staged& begin() { return *requests_.emplace_back(std::make_unique<Staged>()); }
  Call with_stream(const Call& call) const {
    Call made = call;
    made.stream = &handle_;
    return made;
  }
  int64_t extent(const Part* parts) const {
    int64_t end = 0;
    for (int r = 0; r < size(); ++r)
      if (parts[r].bytes > 0) end = std::max(end, parts[r].offset + parts[r].bytes);
    return end;
  }
  char* stage(Staged& staged, void* host, int64_t bytes, bool comes_back) {
    const char* there = staged.memory.emplace_back(bytes, stream_.get()).data();
    stream_.copy(const_cast<char*>(there), host, bytes);
    if (comes_back) staged.back.push_back({host, there, bytes});
    return staged.memory.back().data();
  }
  Tensor on_device(Staged& staged, const Tensor& tensor) {
    int64_t bytes = tensor.dtype.bits / 8;
    for (int32_t d = 0; d < tensor.ndim; ++d) bytes *= tensor.shape[d];
    Tensor there = tensor;
    there.data = stage(staged, tensor.data, bytes, true);
    there.device = {ONEBIT_DEVICE_CUDA, device_};
    return there;
  }
  template <class F>
  Request* post(Staged& staged, F&& f) {
    staged.inner = f();
    return &staged;
  }
  void finish(Staged& staged, int64_t timeout_ns) {
    inner_->wait(staged.inner, timeout_ns);
    for (const Back& back : staged.back) stream_.copy(back.to, back.from, back.bytes);
    stream_.finish();
    requests_.remove_if([&](const auto& other) { return other.get() == &staged; });
  }

  OwnStream stream_;
  std::list<std::unique_ptr<Staged>> requests_;
  int device_ = 0;
  onebit_stream handle_{};
  std::unique_ptr<Communicator> inner_;
};

}  // namespace onebit::test
