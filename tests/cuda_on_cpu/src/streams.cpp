// SPDX-License-Identifier: Apache-2.0
// Streams: their threads, their table, and the calls about them.
#include "streams.hpp"

#include <algorithm>
#include <map>
#include <thread>
#include <vector>

#include "cuda_runtime_api.h"
#include "runtime.hpp"

namespace onebit::cuda_on_cpu {
namespace {

// Both guarded by runtime_mutex(). A handle is never given out twice, so that one which was destroyed is known as such.
struct Table {
  std::map<cudaStream_t, StreamPointer> streams;
  std::map<int, StreamPointer> defaults;  // by device
  uint32_t created = 0;
};
Table& table() {
  static Table& table = *new Table;
  return table;
}
thread_local Stream* running = nullptr;

StreamPointer default_stream() {
  const std::lock_guard<std::mutex> lock(runtime_mutex());
  StreamPointer& stream = table().defaults[current_device()];
  if (stream == nullptr) stream = Stream::start(current_device(), 0);
  return stream;
}
bool names_default(cudaStream_t handle) { return handle == nullptr || handle == cudaStreamLegacy; }

StreamPointer find_own(cudaStream_t handle) {
  const std::lock_guard<std::mutex> lock(runtime_mutex());
  const auto found = table().streams.find(handle);
  return found == table().streams.end() ? nullptr : found->second;
}

std::vector<StreamPointer> streams_of(int device) {
  const std::lock_guard<std::mutex> lock(runtime_mutex());
  std::vector<StreamPointer> streams;
  for (const auto& entry : table().streams) streams.push_back(entry.second);
  for (const auto& entry : table().defaults) streams.push_back(entry.second);
  streams.erase(std::remove_if(streams.begin(), streams.end(), [=](const auto& s) { return s->device() != device; }),
                streams.end());
  return streams;
}

}  // namespace

StreamPointer Stream::start(int device, uint32_t number) {
  StreamPointer stream(new Stream(device, number));
  std::thread([stream] { stream->run(); }).detach();
  return stream;
}

void Stream::push(Work work) { add({std::move(work), false}); }
void Stream::push_always(Work work) { add({std::move(work), true}); }

void Stream::add(Entry entry) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(entry));
    ++given_;
  }
  pushed_.notify_one();
}

void Stream::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [this, until = given_] { return taken_ >= until; });
}

bool Stream::idle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return taken_ == given_;
}

void Stream::finish() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    finished_ = true;
  }
  pushed_.notify_one();
}

cudaError_t Stream::error() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return error_;
}

void Stream::fail(cudaError_t error) {
  const std::lock_guard<std::mutex> lock(mutex_);
  error_ = error;
}

void Stream::sleep() {
  const int64_t most = delay().count();
  if (most > 0) std::this_thread::sleep_for(std::chrono::microseconds(static_cast<int64_t>(generator_()) % (most + 1)));
}

void Stream::run() {
  running = this;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    pushed_.wait(lock, [this] { return finished_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Entry entry = std::move(queue_.front());
    queue_.pop_front();
    const bool wanted = entry.always || error_ == cudaSuccess;
    lock.unlock();
    sleep();
    if (wanted) entry.work();
    entry.work = nullptr;  // before anybody who waits hears that it is done
    lock.lock();
    ++taken_;
    done_.notify_all();
  }
}

StreamPointer find_stream(cudaStream_t handle) {
  if (!names_default(handle)) return find_own(handle);
  return default_stream_allowed() ? default_stream() : nullptr;
}
StreamPointer find_for_event(cudaStream_t handle) { return names_default(handle) ? default_stream() : find_own(handle); }
Stream* current_stream() { return running; }

void wait_for_device(int device) {
  for (const StreamPointer& stream : streams_of(device)) wait_for(*stream);
}

cudaError_t wait_for(Stream& stream) {
  {
    const std::lock_guard<std::mutex> lock(runtime_mutex());
    ++live_counters().waits;
  }
  stream.wait();
  return stream.error();
}

cudaError_t enqueue(cudaStream_t handle, std::function<void()> work) {
  const StreamPointer stream = find_stream(handle);
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  stream->push(std::move(work));
  return cudaSuccess;
}

}  // namespace onebit::cuda_on_cpu

using namespace onebit::cuda_on_cpu;

extern "C" {

// Only streams that the default stream does not wait for: ours must not depend on who else uses that one.
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned int flags) {
  return api_call("cudaStreamCreateWithFlags", [&] {
    if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
    const std::lock_guard<std::mutex> lock(runtime_mutex());
    const uint32_t number = ++table().created;
    *handle = reinterpret_cast<cudaStream_t>(uintptr_t{0x57000000} + 16 * uintptr_t{number});
    table().streams[*handle] = Stream::start(current_device(), number);
    ++live_counters().streams;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned int flags, int) {
  return cudaStreamCreateWithFlags(handle, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return api_call("cudaStreamDestroy", [&] {
    const std::lock_guard<std::mutex> lock(runtime_mutex());
    const auto found = table().streams.find(handle);
    if (found == table().streams.end()) return cudaErrorInvalidResourceHandle;
    found->second->finish();
    table().streams.erase(found);
    --live_counters().streams;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return api_call("cudaStreamSynchronize", [&] {
    const StreamPointer stream = find_stream(handle);
    return stream == nullptr ? cudaErrorInvalidResourceHandle : wait_for(*stream);
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return api_call("cudaStreamQuery", [&] {
    const StreamPointer stream = find_stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    return stream->idle() ? stream->error() : cudaErrorNotReady;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return api_call("cudaLaunchHostFunc", [&] { return enqueue(handle, [=] { function(data); }); });
}
}
