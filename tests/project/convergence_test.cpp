// SPDX-License-Identifier: Apache-2.0
// The benchmark of convergence: what its tables say of stored cells, and that it stores cells, and runs none in vain.
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

using nlohmann::json;
using onebit::test::Outcome;
using onebit::test::run_shell;

namespace {

// A Python that has matplotlib; "" where this machine has none, which is told once a test case.
std::string python() {
  for (const std::string name : {"python3", "/usr/bin/python3"})
    if (run_shell(name + " -c 'import matplotlib'").status == 0) return name;
  MESSAGE("SKIPPED: there is no python3 with matplotlib, by which the benchmark draws");
  return "";
}

std::string bench(const std::string& python, const std::string& arguments) {
  return python + " " ONEBIT_SOURCE_DIR "/tests/convergence/bench.py " + arguments;
}

struct Run {
  std::string cell;
  std::optional<double> quality = std::nullopt;  // accuracy of images, loss of text; none: no finite loss
  double megabytes = 100;
  int freeze_step = 0;
};

json record_of(const Run& run) {
  const bool is_text = run.cell.rfind("gpt", 0) == 0;
  const json quality = run.quality ? json(*run.quality) : json(nullptr), loss = !is_text && run.quality ? json(0.5) : quality;
  const json accuracy = is_text ? json(nullptr) : quality;
  const int steps = is_text ? 600 : 936;
  json evaluations = json::array();
  for (const int parts : {1, 2, 3, 4})
    evaluations.push_back({steps * parts / 4, run.megabytes * 1e6 * parts / 4, loss, accuracy});
  return {
      {"cell", run.cell},
      {"key", "of-another-time"},
      {"built", "elsewhere"},
      {"steps", steps},
      {"skipped_steps", run.quality ? 0 : 500},
      {"final", {{"test_loss", loss}, {"test_accuracy", accuracy}, {"train_loss", run.quality ? json(1.0) : json(nullptr)}}},
      {"bytes_sent", run.megabytes * 1e6},
      {"freeze_step", run.freeze_step > 0 ? json(run.freeze_step) : json(nullptr)},
      {"evaluations", evaluations}};
}

void store(const ScratchFolder& out, const Run& run) {
  std::filesystem::create_directories(out / run.cell);
  out.file(run.cell + "/result.json", record_of(run).dump());
}

// The first seeds.
void store_all(const ScratchFolder& out, Run run, const std::vector<std::optional<double>>& qualities, int ranks = 4) {
  const std::string name = run.cell;
  for (size_t seed = 0; seed < qualities.size(); ++seed) {
    run.cell = name + "-" + std::to_string(ranks) + "-ranks-1x-lr-seed-" + std::to_string(seed + 1);
    run.quality = qualities[seed];
    store(out, run);
  }
}

void store_examples(const ScratchFolder& out) {
  store_all(out, {"cnn-adam"}, {0.90, 0.88, 0.89, 0.80});
  store_all(out, {"cnn-onebit_adam", {}, 20, 140}, {0.879, 0.881, 0.883});
  store_all(out, {"cnn-onebit_adam-the-papers-form", {}, 25, 187}, {0.885, std::nullopt, std::nullopt});
  store_all(out, {"cnn-zeroone_adam", {}, 5, 187}, {0.91, 0.90, 0.92});
  store_all(out, {"cnn-zeroone_adam-the-papers-form", {}, 5, 187}, {0.89, 0.1, 0.89});
  store_all(out, {"cnn-onebit_adam", {}, 20, 140}, {0.86, 0.86, 0.86}, 8);
  store(out, {"cnn-adam-4-ranks-3x-lr-seed-1", 0.88});
  store(out, {"cnn-onebit_adam-4-ranks-3x-lr-seed-1", 0.75, 20});
  store(out, {"cnn-onebit_adam-freeze-at-5-4-ranks-1x-lr-seed-1", 0.81, 10, 47});
  store(out, {"cnn-onebit_lamb-4-ranks-1x-lr-seed-1", 0.9});
  store_all(out, {"gpt-adam"}, {1.7, 1.8, 1.9});
  store_all(out, {"gpt-onebit_adam", {}, 20, 90}, {1.8, 1.9, 1.95});
  store_all(out, {"gpt-zeroone_adam", {}, 10, 30}, {2.0, 2.0, 2.0});
  store_all(out, {"gpt-onebit_adam-the-papers-form", {}, 25, 120}, {3.5, 1.9, 1.9});
}

constexpr const char* kListing = R"({"plugins": [{"version": "VERSION", "components": [{"name": "adam"}, {"name": "lamb"}]}]})";
constexpr const char* kSummary = R"({"steps": 200, "skipped_steps": 0, "final_test_loss": 0.5, "final_test_accuracy": 0.8,
"final_train_loss": 0.6, "bytes_sent_per_rank": 1000, "stage_steps": {"dense": 200}, "train_seconds": 1.0, "interrupted": false,
"versions": {"optimizer": "adam VERSION", "compressor": null}})";
constexpr const char* kMetrics = R"({"step": 200, "bytes_sent": 1000, "test_loss": 0.5, "test_accuracy": 0.8})";

// Stands for `onebit`: notes each run, and trains at once. lamb can't be trained; with a file "slow", nothing comes to an end.
constexpr const char* kCommand = R"(#!/bin/sh
here=${0%/*}
if [ "$1" = plugins ]; then exec cat "$here/listing"; fi
echo "$3" >>"$here/runs"
case $3 in */lamb.toml) echo 'no such layer' >&2; exit 3 ;; esac
if [ -e "$here/slow" ]; then echo $$ >"$here/process"; exec sleep 600; fi
cp "$here/summary" "$5/summary.json" && cp "$here/metrics" "$5/metrics.jsonl"
)";

std::string with_version(std::string text, const std::string& version) {
  return text.replace(text.find("VERSION"), std::string("VERSION").size(), version);
}

void install(const ScratchFolder& folder, const std::string& version) {
  folder.file("listing", with_version(kListing, version));
  folder.file("summary", with_version(kSummary, version));
  folder.file("metrics", kMetrics);
  folder.file("onebit", kCommand);
  std::filesystem::permissions(folder / "onebit", std::filesystem::perms::owner_all);
}

std::string quick(const std::string& python, const ScratchFolder& folder, const std::string& pattern) {
  return bench(python, "--quick --out " + (folder / "out").string() + " --onebit " + (folder / "onebit").string() +
                           " --only '" + pattern + "'");
}

}  // namespace

TEST_CASE("convergence: tables judge each optimizer by the seeds of its dense parent") {
  const std::string with = python();
  if (with.empty()) return;
  ScratchFolder out;
  store_examples(out);
  const Outcome outcome = run_shell(bench(with, "--report --out " + out.path().string()));
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  for (const char* line : {
           "| onebit_adam | 0.8810, within, 5.0x | 1.8833, within, 5.0x |",
           "| adam | 0.9000 | 0.8800 | 0.8900 | 0.8000 | - | 0.8675 | 0.1000 | (dense) | - | 100.0 | - | - | 0 |",
           "| onebit_adam | 0.8790 | 0.8810 | 0.8830 | - | - | 0.8810 | 0.0040 | within | +1.00 % ± 3.07 % | 20.0 |",
           "| onebit_adam, the paper's form | 0.8850 | diverged | diverged | - | - | diverged | - | diverged (2 of 3) | - |",
           "| zeroone_adam | 0.9100 | 0.9000 | 0.9200 | - | - | 0.9100 | 0.0200 | better | -2.25 % ± 2.81 % | 5.0 | 20.0x |",
           "| zeroone_adam, the paper's form | 0.8900 | diverged | 0.8900 | - | - | diverged | - | diverged (1 of 3) | - |",
           "| lamb | - | - | - | - | - | - | - | (dense) | - | - | - | - | - |",
           "| onebit_lamb | 0.9000 | - | - | - | - | 0.9000 | - | - | - | 100.0 | - | never | 0 |",
           "| onebit_adam | 0.8600 | 0.8600 | 0.8600 | - | - | 0.8600 | 0.0000 | worse by 0.0200 | +3.36 % ± 2.70 % | 20.0 |",
           "| 3x the learning rate | onebit_adam | 0.7500 | 0.8800 | 0.1000 | worse by 0.0300 |",
           "| freeze at 5 % | onebit_adam, freeze at 5 % | 0.8100 | 0.9000 | 0.1000 | within | 10.0x |",
           "| onebit_adam | 1.8000 | 1.9000 | 1.9500 | - | - | 1.8833 | 0.1500 | within |",
           "| zeroone_adam | 2.0000 | 2.0000 | 2.0000 | - | - | 2.0000 | 0.0000 | worse by 0.1000 |",
           "| onebit_adam, the paper's form | diverged | 1.9000 | 1.9000 | - | - | diverged | - | diverged (1 of 3) |",
       })
    CHECK_SAYS(outcome, line);
}

TEST_CASE("convergence: the file of results gives the same tables, and the same picture to the byte") {
  const std::string with = python();
  if (with.empty()) return;
  ScratchFolder out, again;
  store_examples(out);
  const Outcome first = run_shell(bench(with, "--report --out " + out.path().string()));
  REQUIRE_MESSAGE(first.status == 0, first.text);
  const Outcome second =
      run_shell(bench(with, "--report --results " + (out / "results.json").string() + " --out " + again.path().string()));
  REQUIRE_MESSAGE(second.status == 0, second.text);
  CHECK(contents_of(out / "tables.md").size() > 1000);
  CHECK(contents_of(out / "tables.md") == contents_of(again / "tables.md"));
  CHECK(contents_of(out / "convergence.svg").find("test accuracy") != std::string::npos);
  CHECK((contents_of(out / "convergence.svg") == contents_of(again / "convergence.svg")));
}

TEST_CASE("convergence: a cell is run once, and again where a plugin has another version, or with --rebuilt another build") {
  const std::string with = python();
  if (with.empty()) return;
  ScratchFolder folder;
  const std::string runs = (folder / "runs").string(), command = quick(with, folder, "cnn-adam-*");
  install(folder, "1.0");
  for (int k = 0; k < 2; ++k) {
    const Outcome outcome = run_shell(command);
    CHECK_MESSAGE(outcome.status == 0, outcome.text);
    CHECK_SAYS(outcome, "| adam | 0.8000 |");
    CHECK(run_shell("wc -l <" + runs).text == "1\n");
  }
  install(folder, "1.1");
  CHECK(run_shell(command).status == 0);
  CHECK(run_shell(command).status == 0);
  CHECK(run_shell("wc -l <" + runs).text == "2\n");
  run_shell("echo '# built anew' >>" + (folder / "onebit").string());
  CHECK(run_shell(command).status == 0);
  CHECK(run_shell("wc -l <" + runs).text == "2\n");
  for (int k = 0; k < 2; ++k) CHECK(run_shell(command + " --rebuilt").status == 0);
  CHECK(run_shell("wc -l <" + runs).text == "3\n");
}

TEST_CASE("convergence: a cell that can't be run does not keep the others from being run, and is told") {
  const std::string with = python();
  if (with.empty()) return;
  ScratchFolder folder;
  install(folder, "1.0");
  const Outcome outcome = run_shell(quick(with, folder, "cnn-[al]*"));
  CHECK_MESSAGE(outcome.status == 1, outcome.text);
  CHECK_SAYS(outcome, "cnn-lamb-4-ranks-1x-lr-seed-1 ended with status 3");
  CHECK_SAYS(outcome, "no such layer");
  CHECK_SAYS(outcome, "| adam | 0.8000 |");
  CHECK_SAYS(outcome, "| lamb | - |");
}

TEST_CASE("convergence: interrupted, it keeps what is done, and ends what it runs") {
  const std::string with = python();
  if (with.empty()) return;
  for (const auto& [name, code] : {std::pair("INT", 1), {"TERM", 143}, {"KILL", 137}}) {
    const std::string signal = name;
    const int status = code;
    ScratchFolder folder;
    install(folder, "1.0");
    const std::string process = (folder / "process").string(), done = quick(with, folder, "cnn-adam-*");
    REQUIRE(run_shell(done).status == 0);
    folder.file("slow", "");
    // a shell's background processes ignore SIGINT, unless told not to
    const Outcome outcome = run_shell("env --default-signal=INT " + quick(with, folder, "*adam*") + " & bench=$!\n" +
                                      "until [ -s " + process + " ]; do sleep 0.02; done; kill -" + signal +
                                      " $bench; wait $bench; status=$?\nfor k in $(seq 200); do kill -0 $(cat " + process +
                                      ") 2>/dev/null || exit $status; sleep 0.05; done; echo it goes on; exit $status");
    CHECK_MESSAGE(outcome.status == status, signal, ": ", outcome.text);
    CHECK_MESSAGE(outcome.text.find("it goes on") == std::string::npos, signal);
    std::filesystem::remove(folder / "slow");
    CHECK(run_shell(done).status == 0);
    CHECK_MESSAGE(run_shell("grep -c /adam.toml " + (folder / "runs").string()).text == "1\n", signal);
  }
}
