// SPDX-License-Identifier: Apache-2.0
// onebit_bench: how near the work comes to what this machine's memory allows.
#include <cstring>
#include <exception>
#include <iostream>

#include "row.hpp"
#include "table.hpp"

namespace {

// Google Benchmark has formats of its own; ours is for when none is asked for.
bool asks_for_format(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::strncmp(argv[i], "--benchmark_format", 18) == 0) return true;
  return false;
}

int run(int argc, char** argv) {
  const bool own_table = !asks_for_format(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  onebit::bench::add_triad_rows();
  onebit::bench::add_codec_rows();
  onebit::bench::add_session_rows();
  onebit::bench::add_mean_rows();
  onebit::bench::add_call_rows();
  onebit::bench::add_loading_rows();
  onebit::bench::Table table;
  benchmark::RunSpecifiedBenchmarks(own_table ? &table : nullptr);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& failure) {
    std::cerr << "onebit_bench: " << failure.what() << '\n';
    return 1;
  }
}
