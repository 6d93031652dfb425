// SPDX-License-Identifier: Apache-2.0
// The benchmark for GPUs, on the emulated CUDA runtime: every row runs, sessions hold the memory that they promise, and where
// there is no device it says so.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

namespace onebit::test {
namespace {

using nlohmann::json;

constexpr double elements = 20000;

Outcome run_bench(const std::string& arguments, const std::string& environment = "") {
  return run_shell(environment + " '" ONEBIT_BINARY_DIR "/bin/onebit_gpu_bench_on_cpu' " + arguments);
}

// Several buckets, the last of which is no whole number of blocks.
json figures() {
  const ScratchFolder folder;
  const std::string file = folder / "bench.json";
  const Outcome outcome = run_bench("--elements 20000 --bucket-bytes 32768 --samples 1 --json '" + file + "'");
  CAPTURE(outcome.text);
  REQUIRE(outcome.status == 0);
  return json::parse(contents_of(file));
}

}  // namespace

TEST_CASE("gpu benchmark: every row runs, and those with a goal are those that have one by design") {
  const json found = figures();
  CHECK(found["emulated"] == true);
  std::set<std::string> goals, names;
  for (const json& row : found["rows"]) {
    CAPTURE(row.dump());
    CHECK(row["elements"] == elements);
    CHECK(row["milliseconds"] > 0);
    CHECK(row["of_copy"] > 0);
    CHECK(names.insert(row["what"]).second);
    if (row.contains("goal")) goals.insert(row["what"]);
  }
  for (const char* name : {"measure", "encode (measure and encode)", "decode", "1-bit Adam: produce", "1-bit Adam: consume",
                           "1-bit Adam, a compressed step"})
    CHECK_MESSAGE(goals.count(name) == 1, name);
}

TEST_CASE("gpu benchmark: sessions hold what their cost says, and the device has that much less") {
  // Each array may end in 256 bytes of which it needs a part; blocks, ballots and the like are not in the promise.
  constexpr double rounding = 32 * 256 / elements, besides = 0.5;
  const json found = figures();
  std::set<std::string> stages;
  for (const json& row : found["memory"]) {
    CAPTURE(row.dump());
    const double promised = row["promised"], held = row["held"], buffers = row["buffers"], measured = row["measured"];
    CHECK(promised >= 8);
    CHECK(held >= promised);
    CHECK(held <= promised + rounding);
    CHECK(measured >= held + buffers);
    CHECK(measured <= held + buffers + besides);
    stages.insert(std::string(row["optimizer"]) + ' ' + std::string(row["stage"]));
  }
  CHECK(stages == std::set<std::string>{"adam dense", "lamb dense", "onebit_adam dense", "onebit_adam compressed",
                                        "onebit_lamb dense", "onebit_lamb compressed", "zeroone_adam dense",
                                        "zeroone_adam compressed"});
}

TEST_CASE("gpu benchmark: without a device it is skipped, and says why") {
  const Outcome outcome = run_bench("", "ONEBIT_CUDA_ON_CPU_DEVICES=0");
  CHECK(outcome.status == 0);
  CHECK(outcome.text.find("SKIPPED: no CUDA device can be used: ") == 0);
}

TEST_CASE("gpu benchmark: what it is asked for wrongly") {
  CHECK(run_bench("--elements 0").status == 2);
  CHECK(run_bench("--nonsense").status == 2);
  const Outcome unwritable = run_bench("--elements 4096 --samples 1 --only nothing --no-memory --json /nowhere/bench.json");
  CHECK(unwritable.status == 1);
  CHECK_SAYS(unwritable, "cannot write '/nowhere/bench.json'");
}

}  // namespace onebit::test
