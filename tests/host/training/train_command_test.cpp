// SPDX-License-Identifier: Apache-2.0
// `onebit train`: what it says when it can't, and, with libtorch, a short run from end to end. And the manifests of configs/.
#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "small_run.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "training/checkpoint_schema.hpp"
#include "training/train_schema.hpp"

using onebit::test::can_train;
using onebit::test::config;
using onebit::test::run_onebit;
using onebit::test::run_shell;
using onebit::test::SmallRun;

namespace {

const char* const kConfigs[] = {"adam", "onebit_adam"};  // those that are run here

// All that there are, by name; but for those of GPUs, whose components are not to be had on every machine.
std::vector<std::string> all_configs() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(ONEBIT_SOURCE_DIR) + "/configs"))
    if (entry.path().stem() != "nccl") names.push_back(entry.path().stem().string());
  REQUIRE(names.size() >= std::size(kConfigs));
  return names;
}

}  // namespace

TEST_CASE("the manifests in configs/ are valid and name every option") {
  for (const std::string& name : all_configs()) {
    const auto manifest = onebit::Manifest::load(config(name));
    const onebit::Configuration configuration(onebit::test::plugins(), manifest, onebit::host::train_schema(),
                                              onebit::host::checkpoint_schema());
    const auto complete = [&](const char* table, const std::vector<const onebit_schema*>& schema) {
      for (const onebit_schema* option : schema)
        if (onebit::view(option->key) != "machines")  // of threads only; these manifests are for any communicator
          CHECK_MESSAGE(manifest.table(table).contains(onebit::view(option->key)), name, ": ", table, ".",
                        std::string(onebit::view(option->key)));
    };
    complete("plugins", onebit::plugins_schema());
    complete("session", onebit::session_schema());
    complete("exchange", onebit::exchange_schema());
    complete("train", onebit::host::train_schema());
    complete("checkpoint", onebit::host::checkpoint_schema());
    complete("optimizer", configuration.optimizer.component->options);
    complete("communicator", configuration.communicator.component->options);
    if (configuration.compressor.component != nullptr) complete("compressor", configuration.compressor.component->options);
    CHECK_MESSAGE(manifest.table("optimizer").contains("dense"), name);
  }
}

TEST_CASE("the manifests in configs/ show what a group of tensors and a pin of a plugin may say, as comments") {
  for (const auto& entry : std::filesystem::directory_iterator(std::string(ONEBIT_SOURCE_DIR) + "/configs")) {
    const std::string text = contents_of(entry.path());
    for (const char* line : {"# [[optimizer.group]] ", "# tensors = [", "# lr = ", "# weight_decay = ", "# [[plugins.pin]] ",
                             "# file = ", "# sha256 = "})
      CHECK_MESSAGE(text.find(std::string("\n") + line) != std::string::npos, entry.path().string(), ": ", line);
  }
}

TEST_CASE("in configs/, what is not required has its default, or says what that is") {
  for (const std::string& name : all_configs()) {
    const std::string file = contents_of(config(name));
    const auto manifest = onebit::Manifest::load(config(name));
    const onebit::Configuration whole(onebit::test::plugins(), manifest, onebit::host::train_schema(),
                                      onebit::host::checkpoint_schema());
    std::string bare;
    for (const char* table : {"optimizer", "compressor", "communicator"})
      if (manifest.has(table)) bare += "[" + std::string(table) + "]\nplugin = \"" + manifest.plugin(table) + "\"\n";
    const onebit::Configuration defaults(onebit::test::plugins(), onebit::Manifest::parse(bare, name, manifest.folder()),
                                         onebit::host::train_schema(), onebit::host::checkpoint_schema());
    std::istringstream own(whole.to_toml()), usual(defaults.to_toml());
    std::string line, other;
    while (std::getline(own, line) && std::getline(usual, other)) {
      if (line == other) continue;
      const std::string key = line.substr(0, line.find(" = "));
      const size_t at = file.find("\n" + key + " = ");
      REQUIRE_MESSAGE(at != std::string::npos, key);
      const std::string written = file.substr(at + 1, file.find('\n', at + 1) - at);
      const bool told = written.find("default ") != std::string::npos || written.find("required") != std::string::npos;
      CHECK_MESSAGE(told, name, ": ", written, " but by default ", other);
    }
  }
}

TEST_CASE("the manifests train alike") {
  const auto train = [](const std::string& name) {
    return onebit::Configuration(onebit::test::plugins(), onebit::Manifest::load(config(name)), onebit::host::train_schema())
        .train.to_toml();
  };
  for (const std::string& name : all_configs()) CHECK_MESSAGE(train(name) == train("adam"), name);
}

TEST_CASE("train: ranks that cannot be") {
  for (const std::string ranks : {"0", "-1", "65"}) {
    const auto outcome = run_onebit("train " + config("adam") + " --ranks=" + ranks);
    CHECK(outcome.status == 1);
    CHECK_SAYS(outcome, "--ranks " + ranks + ": expected a number of ranks from 1 to 64");
  }
  const auto outcome = run_onebit("train " + config("adam") + " --set train.ranks=0");
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, "train.ranks");
}

TEST_CASE("train: a build without libtorch says how to get it") {
  if (ONEBIT_WITH_TORCH != 0) {
    MESSAGE("SKIPPED: this build has libtorch");
    return;
  }
  const auto outcome = run_onebit("train " + config("adam"));
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, "apt-get install libtorch-dev");
  CHECK_SAYS(outcome, "-DONEBIT_TORCH=ON");
}

TEST_CASE("train: an absent data set says how to install it, and nothing is left behind") {
  if (!can_train()) return;
  const ScratchFolder folder;
  const auto outcome =
      run_onebit("train " + config("adam") + " --set train.data_folder=/nonexistent --out " + (folder / "o").string());
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, "Fashion-MNIST is not there: no /nonexistent/train-images-idx3-ubyte.gz");
  CHECK_SAYS(outcome, "apt-get install dataset-fashion-mnist");
  CHECK(!std::filesystem::exists(folder / "o"));
}

TEST_CASE("train: a short run from end to end, dense and 1-bit, and their comparison") {
  if (!can_train()) return;
  const SmallRun run;
  for (const char* name : kConfigs) {
    const auto outcome = run_onebit(run.arguments(
        name, "--set train.epochs=4" +
                  std::string(name == kConfigs[0] ? "" : " --set optimizer.freeze_step=30 --set optimizer.refresh=0")));
    REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
    CHECK_SAYS(outcome, "epoch 4/4 done");
    CHECK(outcome.text.find('\r') == std::string::npos);  // not a terminal
    const nlohmann::json summary = run.summary(name);
    CHECK(summary["config"] == name);
    CHECK(summary["final_test_accuracy"].get<double>() > 0.9);
    CHECK(summary["final_test_loss"].get<double>() < 1);
    CHECK(summary["final_train_loss"].get<double>() < 1);
    CHECK(summary["train_seconds"].get<double>() > 0);
    CHECK(summary["steps"] == 4 * 20);
    CHECK(summary["skipped_steps"] == 0);
    CHECK(summary["ranks"] == 2);
    CHECK(summary["parameters"] == 56714);
    CHECK(summary["bytes_sent_per_rank"].get<int64_t>() > 0);
    CHECK(summary["wire_bits_per_parameter"]["dense"].get<double>() == doctest::Approx(32).epsilon(0.001));
    CHECK(std::filesystem::file_size(run.folder / name / "metrics.jsonl") > 0);
  }
  CHECK(run.summary("adam")["wire_bits_per_parameter"]["compressed"].is_null());
  CHECK(run.summary("onebit_adam")["wire_bits_per_parameter"]["compressed"].get<double>() <= 1.05);
  const auto compared = run_onebit("compare " + (run.folder / "adam/summary.json").string() + " " +
                                   (run.folder / "onebit_adam/summary.json").string());
  CHECK(compared.status == 0);
  CHECK_SAYS(compared, "fewer than adam");
}

TEST_CASE("train: gpt on text learns, and has a loss but no accuracy") {
  if (!can_train()) return;
  const ScratchFolder folder;
  std::string text;
  for (int i = 0; i < 110; ++i) text += "The quick brown fox jumps over the lazy dog. ";
  folder.file("text", text);
  const auto outcome = run_onebit("train " + config("adam") + " --out " + (folder / "out").string() +
                                  " --set train.data_folder=" + folder.path().string() +
                                  " --set train.model=gpt --set train.data=fortunes --set train.batch=4 --set train.epochs=1"
                                  " --set optimizer.lr=3e-3 --set train.evaluate_every=4");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "gpt on fortunes (68 samples), 2 ranks");
  CHECK(outcome.text.find("accuracy") == std::string::npos);
  const auto summary = nlohmann::json::parse(contents_of(folder / "out/summary.json"));
  CHECK(summary["steps"] == 8);
  CHECK(summary["parameters"] == 3226112);
  CHECK(summary["final_test_loss"].get<double>() < 3.7);  // ln 98 = 4.58 at first
  CHECK(summary["final_test_accuracy"].is_null());
  const auto compared = run_onebit("compare " + (folder / "out/summary.json").string());
  CHECK_SAYS(compared, "test loss");
  CHECK(compared.text.find("accuracy") == std::string::npos);
}

TEST_CASE("train and check: a model that does not fit the data is refused") {
  for (const std::string command : {"train ", "check "}) {
    const auto images = run_onebit(command + config("adam") + " --set train.model=gpt");
    CHECK(images.status == 1);
    CHECK_SAYS(images,
               "train.model = \"gpt\" takes text by characters, which train.data = \"fashion_mnist\" has not; what fits: cnn");
    const auto text = run_onebit(command + config("adam") + " --set train.data=fortunes");
    CHECK(text.status == 1);
    CHECK_SAYS(text, "train.model = \"cnn\" takes images, which train.data = \"fortunes\" has not");
    const auto late =
        run_onebit(command + config("adam") + " --set train.model=gpt --set train.data=fortunes_late --set train.epochs=1");
    CHECK(late.status == 1);
    CHECK_SAYS(late, "set train.epochs to 2 or more");
  }
}

TEST_CASE("train: absent text says how to install it") {
  if (!can_train()) return;
  const auto outcome = run_onebit("train " + config("adam") +
                                  " --set train.model=gpt --set train.data=fortunes --set train.data_folder=/nonexistent");
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, "no file without a suffix in /nonexistent");
  CHECK_SAYS(outcome, "apt-get install fortunes");
}

TEST_CASE("train: the same seed gives the same bits, another seed others") {
  if (!can_train()) return;
  const SmallRun run;
  const auto hash = [&](const std::string& more) {
    const auto outcome = run_onebit(run.arguments("onebit_adam", "--set train.epochs=1 --set optimizer.freeze_step=5 " + more));
    REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
    return run.summary("onebit_adam")["parameter_hash"].get<std::string>();
  };
  const std::string first = hash("");
  CHECK(first == hash(""));
  CHECK(first != hash("--set train.seed=2"));
}

namespace {

// For a shell: starts a run that does not end by itself, and waits for its first line of metrics, so that what comes next meets
// a run and not its start. $p is its process.
std::string endless(const SmallRun& run) {
  return onebit::test::onebit_command() + " " + run.arguments("adam", "--set train.epochs=10000") +
         " >/dev/null & p=$!; while ! [ -s " + (run.folder / "adam/metrics.jsonl").string() +
         " ]; do kill -0 $p || exit 9; sleep 0.05; done; ";
}

}  // namespace

TEST_CASE("train: Ctrl-C leaves a summary and exit code 130, SIGTERM 143") {
  if (!can_train()) return;
  for (const auto& [name, code] : {std::pair("INT", 130), {"TERM", 143}}) {
    const SmallRun run;
    const auto outcome = run_shell(endless(run) + "kill -" + name + " $p; wait $p");
    CHECK(outcome.status == code);
    const nlohmann::json summary = run.summary("adam");
    CHECK(summary["status"] == "interrupted");
    CHECK(summary["reason"] == std::string("SIG") + name);
    CHECK(summary["interrupted"] == true);
    CHECK(summary["final_test_accuracy"].is_null());
    CHECK(summary["final_test_loss"].is_null());
    CHECK(summary["steps"].get<int64_t>() < 10000 * 20);
  }
}

TEST_CASE(
    "train: a second run into the folder of one that goes on is refused before it begins, and a killed one leaves nothing") {
  if (!can_train()) return;
  const SmallRun run;
  run.folder.file("again.toml", contents_of(config("adam")));
  const std::string again = onebit::test::onebit_command() + " " + run.arguments("adam", "--set train.epochs=1");
  const auto outcome =
      run_shell(endless(run) + again + "; echo \"second: $?\"; kill -KILL $p; wait $p; ls " + (run.folder / "adam").string());
  CHECK_SAYS(outcome, "another run is writing its results there; wait for its end, or choose another folder (--out)");
  CHECK_SAYS(outcome, "second: 1");
  CHECK(outcome.text.find("summary.json") == std::string::npos);
  CHECK(run_shell(again).status == 0);  // the lock went with the process
  CHECK(run.summary("adam")["status"] == "completed");
}

TEST_CASE("train: a learning rate at which steps are skipped for ever ends with an error that names rank and tensor") {
  if (!can_train()) return;
  const SmallRun run;
  REQUIRE(run_onebit(run.arguments("adam", "--set train.epochs=1")).status == 0);
  const auto outcome = run_onebit(run.arguments("adam", "--set train.epochs=4 --set optimizer.lr=1e6"));
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, "20 steps in a row were skipped (session.max_skipped), the first of them step ");
  CHECK_SAYS(outcome, "the gradient of '");
  CHECK_SAYS(outcome, "' on rank 0");
  const nlohmann::json summary = run.summary("adam");
  CHECK(summary["status"] == "failed");
  CHECK(summary["final_train_loss"].is_null());
  const auto compared = run_onebit("compare " + (run.folder / "adam/summary.json").string());
  CHECK(compared.status == 1);
  CHECK_SAYS(compared, "this run failed, so there is nothing to compare: 20 steps in a row were skipped");
  const auto endless_one =
      run_onebit(run.arguments("adam", "--set train.epochs=2 --set optimizer.lr=1e6 --set session.max_skipped=0"));
  CHECK(endless_one.status == 1);
  CHECK_SAYS(endless_one, "summary.json: the run failed: ");
  CHECK(run.summary("adam")["status"] == "failed");
}

TEST_CASE("train: what fails before its first step leaves no earlier run's summary as its own") {
  if (!can_train()) return;
  const SmallRun run;
  REQUIRE(run_onebit(run.arguments("adam", "--set train.epochs=1")).status == 0);
  CHECK(run_onebit(run.arguments("adam", "--set train.data_folder=/nonexistent")).status == 1);
  CHECK(!std::filesystem::exists(run.folder / "adam/summary.json"));
  CHECK(std::filesystem::exists(run.folder / "adam/summary.previous.json"));
}

TEST_CASE("train: data that does not fill one step") {
  if (!can_train()) return;
  const SmallRun run;
  const auto outcome = run_onebit(run.arguments("adam", "--set train.batch=400"));
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, "train.batch = 400 on 2 ranks takes 800 samples a step, but there are 640");
}
