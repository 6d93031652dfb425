// SPDX-License-Identifier: Apache-2.0
// Events: marks in streams, which others wait for.
#include <condition_variable>
#include <map>
#include <memory>

#include "cuda_runtime_api.h"
#include "runtime.hpp"
#include "streams.hpp"

using namespace onebit::cuda_on_cpu;

namespace {

// One recording of an event: who waits for it goes on doing so when the event is recorded again.
class Mark {
 public:
  void reach() {
    const std::lock_guard<std::mutex> lock(mutex_);
    time_ = std::chrono::steady_clock::now();
    reached_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return reached_; });
  }
  bool reached() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return reached_;
  }
  std::chrono::steady_clock::time_point time() const { return time_; }  // once it was reached

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::chrono::steady_clock::time_point time_;
  bool reached_ = false;
};

struct Event {
  int device;
  bool timed;
  std::shared_ptr<Mark> mark;  // of the last recording; NULL before the first
  StreamPointer stream;        // likewise
};

// Guarded by runtime_mutex().
struct Table {
  std::map<cudaEvent_t, Event> events;
  uintptr_t created = 0;
};
Table& table() {
  static Table& table = *new Table;
  return table;
}

bool find_event(cudaEvent_t handle, Event& event) {
  const std::lock_guard<std::mutex> lock(runtime_mutex());
  const auto found = table().events.find(handle);
  if (found == table().events.end()) return false;
  event = found->second;
  return true;
}

cudaError_t record(cudaEvent_t handle, const StreamPointer& stream) {
  auto mark = std::make_shared<Mark>();
  {
    const std::lock_guard<std::mutex> lock(runtime_mutex());
    const auto found = table().events.find(handle);
    if (found == table().events.end() || found->second.device != stream->device()) return cudaErrorInvalidResourceHandle;
    found->second.mark = mark;
    found->second.stream = stream;
  }
  stream->push_always([mark] { mark->reach(); });
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned int flags) {
  return api_call("cudaEventCreateWithFlags", [&] {
    if ((flags & ~unsigned{cudaEventBlockingSync | cudaEventDisableTiming}) != 0) return cudaErrorInvalidValue;
    const std::lock_guard<std::mutex> lock(runtime_mutex());
    *handle = reinterpret_cast<cudaEvent_t>(uintptr_t{0xE7000000} + 16 * ++table().created);
    table().events[*handle] = {current_device(), (flags & cudaEventDisableTiming) == 0, nullptr, nullptr};
    ++live_counters().events;
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return api_call("cudaEventDestroy", [&] {
    const std::lock_guard<std::mutex> lock(runtime_mutex());
    if (table().events.erase(handle) == 0) return cudaErrorInvalidResourceHandle;
    --live_counters().events;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t in) {
  return api_call("cudaEventRecord", [&] {
    const StreamPointer stream = find_for_event(in);
    return stream == nullptr ? cudaErrorInvalidResourceHandle : record(handle, stream);
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t waiting, cudaEvent_t handle, unsigned int) {
  return api_call("cudaStreamWaitEvent", [&] {
    const StreamPointer stream = find_for_event(waiting);
    Event event;
    if (stream == nullptr || !find_event(handle, event)) return cudaErrorInvalidResourceHandle;
    if (event.mark != nullptr) stream->push([mark = event.mark] { mark->wait(); });
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return api_call("cudaEventQuery", [&] {
    Event event;
    if (!find_event(handle, event)) return cudaErrorInvalidResourceHandle;
    if (event.mark == nullptr) return cudaSuccess;
    return event.mark->reached() ? event.stream->error() : cudaErrorNotReady;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return api_call("cudaEventSynchronize", [&] {
    Event event;
    if (!find_event(handle, event)) return cudaErrorInvalidResourceHandle;
    {
      const std::lock_guard<std::mutex> lock(runtime_mutex());
      ++live_counters().waits;
    }
    if (event.mark == nullptr) return cudaSuccess;
    event.mark->wait();
    return event.stream->error();
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return api_call("cudaEventElapsedTime", [&] {
    Event first, last;
    if (!find_event(start, first) || !find_event(end, last)) return cudaErrorInvalidResourceHandle;
    if (!first.timed || !last.timed || first.mark == nullptr || last.mark == nullptr) return cudaErrorInvalidResourceHandle;
    if (!first.mark->reached() || !last.mark->reached()) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(last.mark->time() - first.mark->time()).count();
    return cudaSuccess;
  });
}
}
