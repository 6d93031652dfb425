// SPDX-License-Identifier: Apache-2.0
// The services as C functions: nothing thrown, every one safe from any thread.
#include "loading/host_services.hpp"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "onebit/error.hpp"

namespace onebit {
namespace {

HostServices& services(void* ctx) { return *static_cast<HostServices*>(ctx); }

spdlog::level::level_enum level_of(int32_t level) {
  if (level <= ONEBIT_LOG_DEBUG) return spdlog::level::debug;
  if (level == ONEBIT_LOG_INFO) return spdlog::level::info;
  return level == ONEBIT_LOG_WARN ? spdlog::level::warn : spdlog::level::err;
}

int32_t log_enabled(void* ctx, int32_t level) noexcept { return services(ctx).logger()->should_log(level_of(level)); }

void log(void* ctx, int32_t level, onebit_str component, onebit_str message) noexcept {
  try {
    services(ctx).logger()->log(level_of(level), "{}: {}", view(component), view(message));
  } catch (...) {
    // a log line that can't be written must not end a training run
  }
}

onebit_code alloc(void*, onebit_device device, size_t size, size_t align, void*, void** out) noexcept {
  if (device.type != ONEBIT_DEVICE_CPU) return ONEBIT_UNSUPPORTED;
  if (out == nullptr || (align & (align - 1)) != 0) return ONEBIT_INVALID_ARGUMENT;
  return posix_memalign(out, std::max(align, sizeof(void*)), std::max<size_t>(size, 1)) == 0 ? ONEBIT_OK : ONEBIT_OUT_OF_MEMORY;
}

void release(void*, onebit_device device, void* ptr, void*) noexcept {
  if (device.type == ONEBIT_DEVICE_CPU) std::free(ptr);
}

int32_t metric(void* ctx, int32_t kind, onebit_str name) noexcept {
  try {
    return services(ctx).metrics().add(kind, view(name));
  } catch (...) {
    return -1;
  }
}

void span(void* ctx, onebit_str name, int64_t begin_ns, int64_t end_ns) noexcept {
  services(ctx).traces().span(view(name), begin_ns, end_ns);
}

void record(void* ctx, int32_t handle, double value) noexcept { services(ctx).metrics().record(handle, value); }

}  // namespace

HostServices::HostServices(std::shared_ptr<spdlog::logger> logger) : logger_(std::move(logger)) {
  table_ = {sizeof(onebit_host), ONEBIT_ABI_MINOR, this, log_enabled, log, alloc, release, metric, record, span};
  quiet_table_ = table_;
  quiet_table_.log_enabled = [](void*, int32_t) noexcept { return int32_t{0}; };
  quiet_table_.log = [](void*, int32_t, onebit_str, onebit_str) noexcept {};
  quiet_table_.metric = [](void*, int32_t, onebit_str) noexcept { return int32_t{-1}; };
  quiet_table_.span = [](void*, onebit_str, int64_t, int64_t) noexcept {};
}

HostServices& HostServices::make(std::shared_ptr<spdlog::logger> logger) {
  static std::mutex mutex;
  static std::vector<HostServices*>& immortals = *new std::vector<HostServices*>;  // reachable, so no leak to a leak checker
  const std::lock_guard lock(mutex);
  return *immortals.emplace_back(new HostServices(std::move(logger)));
}

}  // namespace onebit
