// SPDX-License-Identifier: Apache-2.0
// onebit_bench: how near the work comes to what this machine's memory allows, and checkpoints to what its disk allows.
#include <algorithm>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>

#include "row.hpp"
#include "table.hpp"

namespace {

// Google Benchmark has formats of its own; ours is for when none is asked for.
bool asks_for_format(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::strncmp(argv[i], "--benchmark_format", 18) == 0) return true;
  return false;
}

// What follows this beginning in one of the arguments, which is taken out of them; none where no argument begins so.
std::optional<std::string> take_argument(int& argc, char** argv, const std::string& begin) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.compare(0, begin.size(), begin) != 0) continue;
    std::rotate(argv + i, argv + i + 1, argv + argc);
    --argc;
    return argument.substr(begin.size());
  }
  return std::nullopt;
}

// By default they lie beside this program, for the system's folder for temporary files may be in memory.
onebit::bench::CheckpointOptions checkpoint_options(int& argc, char** argv) {
  const auto folder = take_argument(argc, argv, "--checkpoint_folder=");
  return {folder ? std::filesystem::path(*folder) : std::filesystem::read_symlink("/proc/self/exe").parent_path(),
          take_argument(argc, argv, "--checkpoint_small").has_value()};
}

int run(int argc, char** argv) {
  const bool own_table = !asks_for_format(argc, argv);
  benchmark::Initialize(&argc, argv);
  const onebit::bench::CheckpointOptions checkpoints = checkpoint_options(argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  onebit::bench::add_triad_rows();
  onebit::bench::add_codec_rows();
  onebit::bench::add_session_rows();
  onebit::bench::add_mean_rows();
  onebit::bench::add_call_rows();
  onebit::bench::add_loading_rows();
  onebit::bench::add_checkpoint_rows(checkpoints);
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
