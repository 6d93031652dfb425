// SPDX-License-Identifier: Apache-2.0
// Launches: what is refused at once, what runs later, and what becomes of a kernel that goes wrong.
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "block.hpp"
#include "cuda_on_cpu/launch.h"
#include "cuda_runtime_api.h"
#include "runtime.hpp"
#include "streams.hpp"

namespace onebit::cuda_on_cpu {
namespace {

std::mutex messages_mutex;
std::vector<std::string> messages_kept;
std::atomic<int> keepers{0};

// As much as the loader knows: kernels are seldom exported.
std::string name_of(const void* kernel) {
  Dl_info info{};
  if (dladdr(kernel, &info) == 0 || info.dli_fname == nullptr) return "unknown";
  if (info.dli_sname != nullptr && info.dli_saddr == kernel) return info.dli_sname;
  char text[32];
  std::snprintf(text, sizeof text, "+0x%zx",
                static_cast<size_t>(static_cast<const char*>(kernel) - static_cast<const char*>(info.dli_fbase)));
  return std::string(info.dli_fname) + text;
}

void report(const Launch& launch, const std::string& trouble) {
  const std::string message = "kernel " + name_of(launch.kernel.address) + ": " + trouble;
  if (keepers == 0) {
    std::fprintf(stderr, "%s\n", message.c_str());
    std::abort();
  }
  const std::lock_guard<std::mutex> lock(messages_mutex);
  messages_kept.push_back(message);
}

bool is_launchable(const cudaLaunchConfig_t& config) {
  const dim3 &grid = config.gridDim, &block = config.blockDim;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  return grid.x >= 1 && grid.x <= 0x7FFFFFFFU && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 && grid.z <= 65535 &&
         threads >= 1 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 && threads <= 1024;
}

void run(const Launch& launch) {
  const std::string trouble = Block::run_grid(launch);
  if (trouble.empty()) return;
  report(launch, trouble);
  current_stream()->fail(cudaErrorLaunchFailure);
}

}  // namespace

Mishaps::Mishaps() {
  const std::lock_guard<std::mutex> lock(messages_mutex);
  messages_kept.clear();
  ++keepers;
}
Mishaps::~Mishaps() { --keepers; }
std::vector<std::string> Mishaps::messages() const {
  const std::lock_guard<std::mutex> lock(messages_mutex);
  return messages_kept;
}

cudaError_t submit(const char* call, const cudaLaunchConfig_t* config, Kernel kernel) {
  return api_call(call, [&] {
    const StreamPointer stream = find_stream(config->stream);
    if (stream == nullptr || stream->device() != current_device()) return cudaErrorInvalidResourceHandle;
    if (!is_launchable(*config)) return cudaErrorInvalidConfiguration;
    if (config->dynamicSmemBytes != 0 || config->numAttrs != 0) return cudaErrorNotSupported;
    if (stream->error() != cudaSuccess) return stream->error();
    {
      const std::lock_guard<std::mutex> lock(runtime_mutex());
      ++live_counters().launches;
    }
    stream->push([launch = Launch{std::move(kernel), config->gridDim, config->blockDim}] { run(launch); });
    return cudaSuccess;
  });
}

}  // namespace onebit::cuda_on_cpu
