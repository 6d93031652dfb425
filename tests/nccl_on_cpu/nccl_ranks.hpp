// SPDX-License-Identifier: Apache-2.0
// Ranks of the communicator `nccl` as threads of a test: made from the plugin, over the emulated CUDA runtime and the library
// that stands in for NCCL.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cuda_on_cpu/control.hpp"
#include "onebit/conformance/communicator.hpp"
#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"
#include "support/device_rank.hpp"

namespace onebit::test {

using conformance::Rank;
using namespace std::chrono_literals;

inline std::string plugin_file(const std::string& folder, const std::string& name) {
  return std::string(ONEBIT_BINARY_DIR) + "/lib/onebit/" + folder + "/onebit_plugin_" + name + ".so";
}

inline const Registry& registry() {
  static Registry loaded;
  static const PluginInfo* plugins[] = {&loaded.load(plugin_file("plugins_on_cpu", "nccl")),
                                        &loaded.load(plugin_file("plugins", "threads"))};
  (void)plugins;
  return loaded;
}

inline Rank make(const char* name, const onebit_rendezvous& rendezvous, const std::string& options) {
  const ComponentInfo& found =
      registry().find(Kind::communicator, name, std::string(name) == "nccl" ? ONEBIT_DEVICE_CUDA : ONEBIT_DEVICE_CPU);
  const Manifest manifest =
      Manifest::parse("[communicator]\nplugin = \"" + std::string(name) + "\"\n" + options, "test.toml", ".");
  return registry().make_communicator(found, ResolvedTable(manifest, "communicator", found.options, true), rendezvous);
}
inline Rank make(const onebit_rendezvous& rendezvous, const std::string& options = "timeout = 20") {
  return std::make_unique<DeviceRank>(make("nccl", rendezvous, options));
}

// Runs f(rank) in a thread for each rank; answers what each threw, "" where none did.
inline std::vector<std::string> outcomes(int ranks, const std::function<void(int)>& f) {
  registry();
  std::vector<std::string> texts(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      try {
        f(rank);
      } catch (const std::exception& e) {
        texts[static_cast<size_t>(rank)] = e.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return texts;
}

// Runs one case on so many ranks of one new group.
inline void run(int ranks, const std::function<void(Rank&)>& f) {
  LocalRendezvous rendezvous(ranks);
  const std::vector<std::string> texts = outcomes(ranks, [&](int rank) {
    Rank self = make(rendezvous.at(rank));
    f(self);
  });
  for (int rank = 0; rank < ranks; ++rank) {
    INFO("rank ", rank, " of ", ranks);
    CHECK(texts[static_cast<size_t>(rank)] == "");
  }
}

// What f throws; code internal and no text where it does not.
inline Error error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return {Code::internal, ""};
}
inline std::string text_of(const std::function<void()>& f) { return error_of(f).what(); }

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline DeviceRank& device(Rank& self) { return static_cast<DeviceRank&>(*self); }

// A sum over all ranks of a value of each, in device memory: to be posted and waited for on its own.
struct Sum {
  Sum(Rank& self, int64_t count) : extent(count), rank(device(self)), memory(count * 4, rank.stream_of()) {
    const std::vector<float> values(static_cast<size_t>(count), static_cast<float>(rank.rank() + 1));
    rank.own_stream().copy(memory.data(), values.data(), count * 4);
    rank.own_stream().finish();
    tensor = {memory.data(), rank.stream().device, 1, conformance::dtype_of<float>(), &extent, &stride, 0};
  }
  Request* post(Communicator& on, int64_t timeout_ns = -1) {
    Call call(0, timeout_ns);
    call.stream = &rank.stream();
    return on.all_reduce(tensor, tensor, ReduceOp::sum, call);
  }
  Request* post(int64_t timeout_ns = -1) { return post(rank.inner(), timeout_ns); }
  bool is(float value) {
    std::vector<float> found(static_cast<size_t>(extent));
    rank.own_stream().copy(found.data(), memory.data(), extent * 4);
    rank.own_stream().finish();
    return std::all_of(found.begin(), found.end(), [value](float v) { return v == value; });
  }
  int64_t extent, stride = 1;
  DeviceRank& rank;
  DeviceMemory memory;
  Tensor tensor{};
};

// Asks test until the request is done; throws what it throws.
inline void follow(Communicator& on, Request* request) {
  while (!on.test(request)) std::this_thread::sleep_for(100us);
}

// Holds a stream up until it is let go.
class Gate {
 public:
  explicit Gate(cudaStream_t stream) {
    cuda_on_cpu::enqueue(stream, [open = open_] {
      while (!*open) std::this_thread::sleep_for(50us);
    });
  }
  ~Gate() { open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() { *open_ = true; }

 private:
  std::shared_ptr<std::atomic<bool>> open_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace onebit::test
