// SPDX-License-Identifier: Apache-2.0
// A checkpoint in Python: every file of it with the package safetensors, and its model in PyTorch.
#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <regex>
#include <string>
#include <vector>

#include "core/saving/saving_runs.hpp"
#include "host/training/small_run.hpp"
#include "onebit/checkpoint.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"

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

// The elements in the order of the shape, whatever their order in memory.
std::vector<float> row_by_row(const onebit::Parameter& parameter) {
  const std::vector<int64_t>& shape = parameter.shape;
  std::vector<float> values(std::accumulate(shape.begin(), shape.end(), size_t{1}, std::multiplies<>()));
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t at = 0, rest = static_cast<int64_t>(i), row = 1;
    for (size_t d = shape.size(); d-- > 0;) {
      at += rest % shape[d] * (parameter.strides.empty() ? row : parameter.strides[d]);
      rest /= shape[d];
      row *= shape[d];
    }
    values[i] = parameter.data[at];
  }
  return values;
}

// What EXPECTED.json of open_with_package.py has.
nlohmann::json expected_model(onebit::test::Tensors& own) {
  nlohmann::json model;
  for (const onebit::Parameter& parameter : onebit::test::shaped(own))
    model[parameter.name] = {{"shape", parameter.shape}, {"values", row_by_row(parameter)}};
  return model;
}

// After nine steps, with blobs. Answers what is expected of it.
nlohmann::json save_with_blobs(const std::string& toml, const std::filesystem::path& root) {
  std::vector<onebit::test::Tensors> models = onebit::test::model_of(2);
  nlohmann::json expected;
  const auto place = [](size_t rank) { return "of rank " + std::to_string(rank); };
  onebit::test::with_sessions(2, toml, models, [&](onebit::Session& session, onebit::test::Tensors& own) {
    for (int64_t step = 1; step <= 9; ++step) onebit::test::take_step(session, step);
    onebit::SaveOptions options;
    options.of_rank = {{"place", place(static_cast<size_t>(session.rank()))}, {"none", ""}};
    options.of_all = {{"order", "of all"}};
    session.save(root, options);
    const onebit::Session::AtAnchor shared(session);
    if (session.rank() == 0) expected["model"] = expected_model(own);
  });
  for (size_t rank = 0; rank < 2; ++rank) {
    expected["blobs"][rank]["place"] = place(rank);
    expected["blobs"][rank]["none"] = "";
  }
  return expected;
}

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
  for (const bool local_steps : {false, true}) {
    CAPTURE(local_steps);
    const ScratchFolder folder;
    const std::filesystem::path root = folder / "checkpoints", checkpoint = onebit::test::at_step(root, 9);
    const nlohmann::json saved =
        save_with_blobs(local_steps ? onebit::test::with_local_steps() : onebit::test::frozen_at(3), root);
    CHECK(onebit::test::session_of(checkpoint)["apart"] == local_steps);  // ranks have parameters of their own
    const auto outcome = run_shell(python + " " + kScripts + "open_with_package.py " + in_quotes(checkpoint) + " " +
                                   in_quotes(folder.file("expected.json", saved.dump())));
    CHECK(outcome.status == 0);
    CHECK_SAYS(outcome, "all is well: ");
    CHECK_SAYS(outcome, " tensors in 4 files");
  }
}

TEST_CASE("ten lines of PyTorch load a saved model, and find the accuracy that `onebit evaluate` finds") {
  if (!onebit::test::can_train()) return;
  const std::string python = python_with("torch, safetensors.torch");
  if (python.empty()) return;
  const onebit::test::SmallRun run;
  const std::filesystem::path out = run.folder / "restartable", root = out / "checkpoints";
  const auto trained = onebit::test::run_onebit(
      run.arguments("restartable", "--set train.epochs=1 --set train.samples=320 --set optimizer.freeze_step=5"));
  REQUIRE_MESSAGE(trained.status == 0, trained.text);
  const auto evaluated = onebit::test::run_onebit("evaluate " + onebit::test::config("restartable") + run.data() +
                                                  "--json --checkpoint " + in_quotes(root));
  REQUIRE_MESSAGE(evaluated.status == 0, evaluated.text);
  const nlohmann::json expected = nlohmann::json::parse(evaluated.text);
  for (const std::filesystem::path& where : {onebit::loadable_checkpoints(root).at(0), out}) {
    const auto outcome = run_shell(python + " " + kScripts + "evaluate_in_pytorch.py " +
                                   in_quotes(where / "model.safetensors") + " " + in_quotes(run.folder.path()));
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
