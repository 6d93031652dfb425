// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <fmt/core.h>

#include <ostream>

namespace onebit::gpu_bench {
namespace {

std::string count(int64_t elements) {
  return elements < mega ? fmt::format("{}", elements) : fmt::format("{}M", elements / mega);
}

std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

#ifdef ONEBIT_CUDA_ON_CPU
constexpr bool emulated = true;
#else
constexpr bool emulated = false;
#endif

std::string verdict(const Result& result) {
  if (result.row.goal == 0) return "";
  return fmt::format(">= {:.2f} {}", result.row.goal, emulated ? "" : result.reached() ? "yes" : "NO");
}

nlohmann::ordered_json device_of(const Bench& bench) {
  cudaDeviceProp properties = {};
  int driver = 0, runtime = 0, device = 0;
  cuda::check(cudaGetDevice(&device), "cudaGetDevice");
  cuda::check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  cuda::check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  cuda::check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return {{"name", properties.name},
          {"compute_capability", fmt::format("{}.{}", properties.major, properties.minor)},
          {"processors", properties.multiProcessorCount},
          {"memory_bytes", properties.totalGlobalMem},
          {"cache_bytes", properties.l2CacheSize},
          {"tile_elements", bench.device().tile_elements()},
          {"driver", version(driver)},
          {"runtime", version(runtime)}};
}

}  // namespace

void Report::begin(const Bench& bench) {
  json_["device"] = device_of(bench);
  json_["emulated"] = emulated;
  json_["samples"] = bench.settings().samples;
  json_["rows"] = nlohmann::ordered_json::array();
  json_["memory"] = nlohmann::ordered_json::array();
  const auto& device = json_["device"];
  out_ << fmt::format("{}, {} processors, {} MB of cache, tiles of {} elements; CUDA {}, driver for {}\n",
                      device["name"].get<std::string>(), device["processors"].get<int>(),
                      device["cache_bytes"].get<int64_t>() >> 20, device["tile_elements"].get<int64_t>(),
                      device["runtime"].get<std::string>(), device["driver"].get<std::string>())
       << (emulated ? "emulated on the CPU: the code runs, but the figures say nothing of a GPU\n" : "")
       << fmt::format("medians of {}, each sample between two copies\n\n", bench.settings().samples)
       << fmt::format("{:<34}{:>9}{:>8}{:>12}{:>10}{:>9}  {:<12} {}\n", "what", "elements", "B/elem.", "ns/element", "GB/s",
                      "of copy", "goal", "bytes that must move");
}

void Report::add(const Result& result) {
  const Row& row = result.row;
  nlohmann::ordered_json entry = {{"what", row.what}, {"elements", result.elements}};
  if (!result.failure.empty()) {
    failed_ = true;
    entry["failure"] = result.failure;
    out_ << fmt::format("{:<34}{:>9}  failed: {}\n", row.what, count(result.elements), result.failure) << std::flush;
  } else {
    entry["bytes_per_element"] = row.bytes;
    entry["bytes"] = row.terms;
    entry["milliseconds"] = result.seconds * 1e3;
    entry["ns_per_element"] = result.nanoseconds_per_element();
    entry["GB_per_second"] = result.gigabytes_per_second();
    entry["of_copy"] = result.ratio;
    if (row.goal > 0) entry["goal"] = row.goal;
    if (row.goal > 0 && !emulated) entry["reached"] = result.reached();
    out_ << fmt::format("{:<34}{:>9}{:>8.2f}{:>12.5f}{:>10.1f}{:>9.3f}  {:<12} {}\n", row.what, count(result.elements),
                        row.bytes, result.nanoseconds_per_element(), result.gigabytes_per_second(), result.ratio,
                        verdict(result), row.terms)
         << std::flush;
  }
  json_["rows"].push_back(std::move(entry));
}

void Report::begin_memory() {
  out_ << "\nbytes of device memory a parameter, besides parameters and gradients; held: state, errors and retained means\n\n"
       << fmt::format("{:<14}{:<12}{:>9}{:>10}{:>8}{:>9}{:>16}\n", "optimizer", "stage", "elements", "promised", "held",
                      "buffers", "the device's");
}

void Report::add(const Held& held) {
  json_["memory"].push_back({{"optimizer", held.optimizer},
                             {"stage", held.stage},
                             {"elements", held.elements},
                             {"promised", held.promised},
                             {"held", held.held},
                             {"buffers", held.buffers},
                             {"measured", held.measured}});
  out_ << fmt::format("{:<14}{:<12}{:>9}{:>10.3f}{:>8.3f}{:>9.3f}{:>16.3f}\n", held.optimizer, held.stage, count(held.elements),
                      held.promised, held.held, held.buffers, held.measured)
       << std::flush;
}

}  // namespace onebit::gpu_bench
