// SPDX-License-Identifier: Apache-2.0
// onebit_gpu_bench: how near the work on a CUDA device comes to what its memory allows, and how much of that memory it takes.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <fstream>
#include <iostream>

#include "bench.hpp"
#include "memory_rows.hpp"
#include "onebit/cuda.hpp"
#include "report.hpp"

namespace {

using namespace onebit;

constexpr int64_t most_elements_for_memory = 64 * gpu_bench::mega;

void write(const std::string& file, const nlohmann::ordered_json& json) {
  std::ofstream out(file);
  out << json.dump(2) << '\n';
  if (!out.flush()) throw Error(Code::invalid_argument, "cannot write '" + file + "': name another file with --json");
}

bool run(const gpu_bench::Settings& settings, bool memory, const std::string& json) {
  gpu_bench::Report report(std::cout);
  {
    gpu_bench::Bench bench(settings, [&](const gpu_bench::Result& result) { report.add(result); });
    report.begin(bench);
    bench.add_yardstick_rows();
    add_codec_rows(bench);
    add_optimizer_rows(bench);
    add_session_rows(bench);
  }
  if (memory) {
    report.begin_memory();
    gpu_bench::measure_memory(std::min(settings.elements, most_elements_for_memory), settings.bucket_bytes,
                              [&](const gpu_bench::Held& held) { report.add(held); });
  }
  if (!json.empty()) write(json, report.json());
  return !report.failed();
}

int main_or_throw(int argc, char** argv) {
  CLI::App app("how near the work on a CUDA device comes to what its memory allows");
  gpu_bench::Settings settings;
  std::string json;
  bool memory = true;
  app.add_option("--elements", settings.elements, "of each row's arrays; fewer where the device's memory is short")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31))
      ->capture_default_str();
  app.add_option("--bucket-bytes", settings.bucket_bytes,
                 "exchange.bucket_bytes: what one collective carries, before compression")
      ->check(CLI::Range(int64_t{4096}, int64_t{1'000'000'000}))
      ->capture_default_str();
  app.add_option("--samples", settings.samples, "of each row, which quotes their median")
      ->check(CLI::Range(1, 1001))
      ->capture_default_str();
  app.add_option("--only", settings.only, "only rows whose names have this in them");
  app.add_flag("!--no-memory", memory, "leave out how much memory sessions hold");
  app.add_option("--json", json, "a file for the same figures");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  try {
    cuda::probe();
  } catch (const Error& e) {
    std::cout << "SKIPPED: " << e.what() << '\n';
    return 0;
  }
  return run(settings, memory, json) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return main_or_throw(argc, argv);
  } catch (const std::exception& failure) {
    std::cerr << "onebit_gpu_bench: " << failure.what() << '\n';
    return 1;
  }
}
