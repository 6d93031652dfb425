// SPDX-License-Identifier: Apache-2.0
// The benchmark's rows of checkpoints: not for their figures, but so that their code runs.
#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

namespace {

const std::string kBench = ONEBIT_BINARY_DIR "/bin/onebit_bench";

// In a folder of the build, for the system's folder for temporary files may be in memory.
std::string small_checkpoints(const ScratchFolder& folder, const std::string& more = "") {
  return "'" + kBench + "' --checkpoint_small --checkpoint_folder=" + onebit::test::in_quotes(folder.path()) +
         " --benchmark_filter=checkpoint " + more;
}

// Says so, once a test case, where there are none.
bool has_benchmarks() {
  const bool there = std::filesystem::exists(kBench);
  if (!there) MESSAGE("SKIPPED: this build has no benchmarks (Google Benchmark was not found, or ONEBIT_BENCH=OFF)");
  return there;
}

}  // namespace

TEST_CASE("benchmark: the rows of checkpoints run, each with its goal, and leave nothing behind") {
  if (!has_benchmarks()) return;
  const ScratchFolder folder(ONEBIT_BINARY_DIR);
  const auto outcome = onebit::test::run_shell(small_checkpoints(folder, "--benchmark_format=json 2>/dev/null"));
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  std::map<std::string, int> goals;
  const nlohmann::json told = nlohmann::json::parse(outcome.text);
  for (const nlohmann::json& row : told["benchmarks"]) {
    CAPTURE(row.dump());
    const std::string name = row["name"];
    const bool in_memory = row.value("error_message", std::string()).find("no disk is read") != std::string::npos;
    if (row.value("error_occurred", false)) {
      CHECK((in_memory && name.find("cold") != std::string::npos));  // the build is on a tmpfs
      continue;
    }
    CHECK(row["found"] >= 0);
    CHECK(row["bytes_per_element"] > 20);
    CHECK(row["ns_per_element"] > 0);
    ++goals[row.contains("at_least") ? "at_least" : "at_most"];
    CHECK(row.contains("at_least") != row.contains("at_most"));
  }
  CHECK(goals["at_least"] + goals["at_most"] >= 5);
  CHECK(goals["at_most"] == 4);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("benchmark: the table says of each row of checkpoints whether its goal was met") {
  if (!has_benchmarks()) return;
  const ScratchFolder folder(ONEBIT_BINARY_DIR);
  const auto outcome = onebit::test::run_shell(small_checkpoints(folder));
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  for (const char* row : {"save", "load, warm", "stall of an async save", "memory of a save", "bytes on the disk"}) {
    const size_t at = outcome.text.find(std::string("checkpoint: ") + row + " ");
    REQUIRE_MESSAGE(at != std::string::npos, outcome.text);
    const std::string line = outcome.text.substr(at, outcome.text.find('\n', at) - at);
    const bool told = line.find(" yes ") != std::string::npos || line.find(" NO ") != std::string::npos;
    CHECK_MESSAGE(told, line);
  }
}
