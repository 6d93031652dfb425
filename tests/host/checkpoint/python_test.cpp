// SPDX-License-Identifier: Apache-2.0
// A checkpoint in Python: every file of it with the package safetensors, and its model in PyTorch.
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

#include "onebit/checkpoint.hpp"
#include "support/gradients.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "support/small_data_set.hpp"

namespace {

using onebit::test::in_quotes;
using onebit::test::run_shell;

const std::string kScripts = ONEBIT_SOURCE_DIR "/tests/host/checkpoint/";

// A Python that has these modules; "" where this machine has none, which is told once a test case.
std::string python_with(const std::string& modules) {
  for (const std::string name : {"python3", "/usr/bin/python3"})
    if (run_shell(name + " -c 'import " + modules + "'").status == 0) return name;
  MESSAGE("SKIPPED: no python3 here can import ", modules, " (pip install safetensors numpy; Debian: python3-torch)");
  return "";
}

std::string place_of(int rank) { return "of rank " + std::to_string(rank); }

// What is saved after nine steps, with blobs; answers what is expected of it: EXPECTED.json of open_with_package.py.
nlohmann::json save_with_blobs(const std::string& toml, const std::filesystem::path& root) {
  const onebit::test::Tensors model = {std::vector<float>(3000, 0.5F), {}, std::vector<float>(33)};
  nlohmann::json expected;
  onebit::test::run_sessions(2, toml, model, [&](onebit::test::Rank rank) {
    for (int64_t step = 1; step <= 9; ++step)
      rank.session.step(onebit::test::pointers(onebit::test::noisy(model, step, rank.number)));
    onebit::SaveOptions options;
    options.of_rank = {{"place", place_of(rank.number)}, {"none", ""}};
    options.of_all = {{"order", "of all"}};
    rank.session.save(root, options);
    const onebit::Session::AtAnchor shared(rank.session);
    for (size_t t = 0; t < model.size() && rank.number == 0; ++t)
      expected["model"]["t" + std::to_string(t)] = {{"shape", nlohmann::json::array({model[t].size()})},
                                                    {"values", rank.parameters[t]}};
  });
  for (size_t rank = 0; rank < 2; ++rank) {
    expected["blobs"][rank]["place"] = place_of(static_cast<int>(rank));
    expected["blobs"][rank]["none"] = "";
  }
  return expected;
}

const std::string kOtherTables = "\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\n";
const std::string kFrozenRun = "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 3" + kOtherTables;
// Between two syncs, where ranks have parameters of their own.
const std::string kLocalRun =
    "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 5\nvar_update_scaler = 1\nlocal_step_scaler = 3\n"
    "local_step_clipper = 4" +
    kOtherTables;

// What the script prints, and `onebit evaluate` finds.
struct Accuracy {
  double loss = 0, share = 0;
};
Accuracy printed_accuracy(const std::string& text) {
  std::smatch found;
  REQUIRE_MESSAGE(std::regex_search(text, found, std::regex("test loss ([0-9.]+), test accuracy ([0-9.]+), on 200 samples")),
                  text);
  return {std::stod(found[1]), std::stod(found[2])};
}

}  // namespace

TEST_CASE("Python's safetensors opens every file of a checkpoint, and finds the parameters and blobs that were saved") {
  const std::string python = python_with("numpy, safetensors");
  if (python.empty()) return;
  for (const std::string& toml : {kFrozenRun, kLocalRun}) {
    CAPTURE(toml);
    const ScratchFolder folder;
    const nlohmann::json expected = save_with_blobs(toml, folder / "checkpoints");
    const std::filesystem::path checkpoint = onebit::loadable_checkpoints(folder / "checkpoints").at(0);
    const bool apart = nlohmann::json::parse(onebit::read_checkpoint_info(checkpoint).session).at("apart");
    CHECK(apart == (toml == kLocalRun));
    const auto outcome = run_shell(python + " " + kScripts + "open_with_package.py " + in_quotes(checkpoint) + " " +
                                   in_quotes(folder.file("expected.json", expected.dump())));
    CHECK(outcome.status == 0);
    CHECK_SAYS(outcome, "all is well: ");
    CHECK_SAYS(outcome, " tensors in 4 files");
  }
}

TEST_CASE("ten lines of PyTorch load a saved model, and find the accuracy that `onebit evaluate` finds") {
  if (ONEBIT_WITH_TORCH == 0) {
    MESSAGE("SKIPPED: this build has no libtorch (ONEBIT_TORCH=OFF)");
    return;
  }
  const std::string python = python_with("torch, safetensors.torch");
  if (python.empty()) return;
  const ScratchFolder data, out;
  onebit::test::write_data_set(onebit::test::small_data_set(320, 200), data.path());
  const std::string config =
      in_quotes(ONEBIT_SOURCE_DIR "/configs/restartable.toml") + " --set train.data_folder=" + in_quotes(data.path());
  const auto trained = onebit::test::run_onebit("train " + config + " --out " + in_quotes(out.path()) +
                                                " --set train.epochs=1 --set train.batch=16 --set optimizer.freeze_step=5");
  REQUIRE_MESSAGE(trained.status == 0, trained.text);
  const std::filesystem::path root = out / "checkpoints";
  const auto evaluated = onebit::test::run_onebit("evaluate " + config + " --json --checkpoint " + in_quotes(root));
  REQUIRE_MESSAGE(evaluated.status == 0, evaluated.text);
  const nlohmann::json expected = nlohmann::json::parse(evaluated.text);
  for (const std::filesystem::path& where : {onebit::loadable_checkpoints(root).at(0), out.path()}) {
    const auto outcome = run_shell(python + " " + kScripts + "evaluate_in_pytorch.py " +
                                   in_quotes(where / "model.safetensors") + " " + in_quotes(data.path()));
    REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
    const Accuracy found = printed_accuracy(outcome.text);
    CHECK(found.share == doctest::Approx(expected["test_accuracy"].get<double>()).epsilon(1e-5));
    CHECK(found.loss == doctest::Approx(expected["test_loss"].get<double>()).epsilon(1e-4));
  }
}

TEST_CASE("embedding.md has the lines of PyTorch that are run") {
  const std::string script = contents_of(kScripts + "evaluate_in_pytorch.py"), end = "\"\"\"\n";
  const std::string lines = script.substr(script.rfind(end) + end.size());
  const std::string text = contents_of(ONEBIT_SOURCE_DIR "/host/embedding.md");
  CHECK_MESSAGE(text.find("\n```python\n" + lines + "```\n") != std::string::npos, lines);
}
