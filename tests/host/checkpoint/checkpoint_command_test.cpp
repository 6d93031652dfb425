// SPDX-License-Identifier: Apache-2.0
// `onebit checkpoint`: what it shows of folders in every state, which it calls damaged, what it removes.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "onebit/checkpoint.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using onebit::test::Outcome;
using onebit::test::run_onebit;

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Saves after each of so many steps.
void save_each(const fs::path& root, int steps) {
  const onebit::test::Tensors model = {std::vector<float>(5000, 0.5f), std::vector<float>(33)};
  onebit::test::run_sessions(2, onebit::test::onebit_adam("freeze_step = 2\n"), model, [&](onebit::test::Rank rank) {
    for (int step = 1; step <= steps; ++step) {
      const std::vector<float> a(5000, 1.0f / static_cast<float>(step)), b(33, 2);
      rank.session.step({a.data(), b.data()});
      rank.session.save(root);
    }
  });
}

// Where nothing waits for a disk, if there is such a place.
fs::path in_memory() {
  const char* memory = "/dev/shm";
  return access(memory, W_OK | X_OK) == 0 ? fs::path(memory) : fs::temp_directory_path();
}

void spoil(const fs::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(-3, std::ios::end);
  stream.put('x');
}

Outcome run_checkpoint(const std::string& arguments, const fs::path& folder) {
  return run_onebit("checkpoint " + arguments + " " + folder.string());
}

json checkpoint_json(const std::string& arguments, const fs::path& folder) {
  const Outcome outcome = run_checkpoint(arguments + " --json", folder);
  return json::parse(outcome.text);
}

}  // namespace

TEST_CASE("checkpoint show: a folder of checkpoints, and one of them") {
  const ScratchFolder folder;
  save_each(folder.path(), 2);
  fs::create_directories(folder / "step-00000007.unfinished");
  const Outcome all = run_checkpoint("show", folder.path());
  CHECK(all.status == 0);
  CHECK_SAYS(all, "step-00000002 ");
  CHECK_SAYS(all, "2 ranks, ");
  CHECK_SAYS(all, ", the latest\n");
  CHECK_SAYS(all, "step-00000007.unfinished   a save that is under way, or was broken off; never loaded\n");
  const json listed = checkpoint_json("show", folder.path());
  CHECK(listed["latest"] == 2);
  CHECK(listed["checkpoints"].size() == 3);
  CHECK(listed["checkpoints"][0]["state"] == "unfinished");
  CHECK(listed["checkpoints"][1]["state"] == "complete");
  CHECK(listed["checkpoints"][1]["step"] == 2);
  CHECK(listed["checkpoints"][1]["ranks"] == 2);
  CHECK(listed["checkpoints"][1]["fault"].is_null());
  const Outcome one = run_checkpoint("show", folder / "step-00000002");
  CHECK(one.status == 0);
  CHECK_SAYS(one, ": step 2, saved by 2 ranks, ");
  CHECK_SAYS(one, "model.safetensors ");
  CHECK_SAYS(one, "rank-00001-of-00002.safetensors ");
  const json described = checkpoint_json("show", folder / "step-00000002");
  CHECK(described["hash"] == "xxh3-128");
  CHECK(described["session"].is_object());
  uint64_t bytes = 0;
  for (const json& file : described["files"]) bytes += file["bytes"].get<uint64_t>();
  CHECK(described["bytes"] == bytes);
}

TEST_CASE("checkpoint verify: what is damaged is named, and is an exit status") {
  const ScratchFolder folder;
  save_each(folder.path(), 2);
  const Outcome whole = run_checkpoint("verify", folder.path());
  CHECK(whole.status == 0);
  CHECK_SAYS(whole, "step-00000001: whole\n");
  CHECK_SAYS(whole, "step-00000002: whole\n");
  spoil(folder / "step-00000001/state.safetensors");
  const Outcome damaged = run_checkpoint("verify", folder.path());
  CHECK(damaged.status == 1);
  CHECK_SAYS(damaged, "step-00000001: damaged: ");
  CHECK_SAYS(damaged, "state.safetensors");
  CHECK_SAYS(damaged, "step-00000002: whole\n");
  const json verdicts = checkpoint_json("verify", folder.path())["checkpoints"];
  CHECK(verdicts[0]["whole"] == true);
  CHECK(verdicts[0]["fault"].is_null());
  CHECK(verdicts[1]["whole"] == false);
  CHECK(run_checkpoint("verify", folder / "step-00000002").status == 0);
  spoil(folder / "step-00000002/checkpoint.json");
  CHECK(run_checkpoint("verify", folder / "step-00000002").status == 1);
  CHECK_SAYS(run_checkpoint("show", folder.path()), "step-00000002              damaged: ");
}

TEST_CASE("checkpoint prune: the newest stay") {
  const ScratchFolder folder;
  save_each(folder.path(), 4);
  const Outcome pruned = run_checkpoint("prune --keep 3", folder.path());
  CHECK(pruned.status == 0);
  CHECK_SAYS(pruned, "step-00000001: removed\n");
  CHECK(!fs::exists(folder / "step-00000001"));
  CHECK_SAYS(run_checkpoint("prune --keep 3", folder.path()), "nothing to remove\n");
  const json told = checkpoint_json("prune --keep 1", folder.path());
  CHECK(told["removed"].size() == 2);
  CHECK(told["left"] == "");
  CHECK(onebit::list_checkpoints(folder.path()).entries.size() == 1);
  const Outcome none = run_checkpoint("prune --keep 0", folder.path());
  CHECK(none.status == 1);
  CHECK_SAYS(none, "at least 1 checkpoint is kept");
  CHECK(run_checkpoint("prune", folder.path()).status == 2);
}

TEST_CASE("checkpoint: a folder without any is an error that says what was expected") {
  const ScratchFolder folder;
  for (const char* command : {"show", "verify", "prune --keep 1"})
    for (const fs::path& where : {folder.path(), folder / "absent"}) {
      const Outcome outcome = run_checkpoint(command, where);
      CHECK(outcome.status == 1);
      CHECK_SAYS(outcome, "expected a folder of checkpoints");
    }
  CHECK(run_onebit("checkpoint").status == 2);
}

TEST_CASE("check tells what a checkpoint will weigh") {
  const std::string tables = "\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\n";
  for (const char* optimizer : {"\"adam\"", "\"onebit_adam\"\nfreeze_step = 2", "\"onebit_lamb\"\nfreeze_step = 2",
                                "\"zeroone_adam\"\nvar_freeze_step = 2\nlocal_step_scaler = 2\nlocal_step_clipper = 4"})
    for (const int ranks : {1, 2, 3}) {
      CAPTURE(optimizer);
      CAPTURE(ranks);
      const ScratchFolder folder(in_memory());
      const std::string toml = "[optimizer]\nplugin = " + std::string(optimizer) + tables;
      onebit::test::Tensors model = {std::vector<float>(60'000, 0.5f), std::vector<float>(4000)};
      const onebit::Cost cost =
          onebit::cost_of(onebit::test::plugins(), onebit::test::configure(toml), onebit::test::parameters_of(model), ranks);
      uint64_t most = 0;
      onebit::test::run_sessions(ranks, toml, model, [&](onebit::test::Rank rank) {
        for (int step = 1; step <= 8; ++step) {
          const std::vector<float> a(60'000, 1.0f / static_cast<float>(step)), b(4000, 2);
          rank.session.step({a.data(), b.data()});
          onebit::SaveOptions options;
          options.keep = 1;
          const auto report = rank.session.save(folder / "c", options);
          if (rank.number == 0) most = std::max(most, onebit::read_checkpoint_info(report.folder).bytes);
        }
      });
      CHECK(static_cast<double>(cost.checkpoint) == doctest::Approx(static_cast<double>(most)).epsilon(0.02));
      CHECK(cost.checkpoint_of_rank >= cost.checkpoint / static_cast<uint64_t>(ranks));
      CHECK(cost.checkpoint_of_rank <= cost.checkpoint);
    }
}
