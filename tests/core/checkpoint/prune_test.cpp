// SPDX-License-Identifier: Apache-2.0
// What is removed, and what never is.
#include <doctest/doctest.h>

#include "onebit/checkpoint.hpp"
#include "saving.hpp"
#include "support/scratch_folder.hpp"

namespace fs = std::filesystem;
using namespace onebit::test;

namespace {

std::vector<uint64_t> steps_in(const fs::path& root) {
  std::vector<uint64_t> steps;
  for (const auto& entry : onebit::list_checkpoints(root).entries)
    if (entry.state == onebit::CheckpointState::complete) steps.push_back(entry.step);
  return steps;
}

}  // namespace

TEST_CASE("the newest are kept, and the others are told") {
  const ScratchFolder scratch;
  for (const uint64_t step : {1, 2, 3, 4}) save(scratch.path(), {step, 1});
  onebit::PrunedCheckpoints pruned = onebit::prune_checkpoints(scratch.path(), 9);
  CHECK(pruned.removed.empty());
  pruned = onebit::prune_checkpoints(scratch.path(), 2);
  CHECK(pruned.removed == std::vector<fs::path>{scratch / "step-00000002", scratch / "step-00000001"});
  CHECK(pruned.left.empty());
  CHECK(steps_in(scratch.path()) == std::vector<uint64_t>{4, 3});
  CHECK_FALSE(fs::exists(scratch / "step-00000001.removed"));
  CHECK_THROWS_WITH_AS(onebit::prune_checkpoints(scratch.path(), 0), "at least 1 checkpoint is kept, asked for were 0",
                       onebit::Error);
  CHECK(onebit::prune_checkpoints(scratch / "nothing", 1).removed.empty());
}

TEST_CASE("a run that went on from an earlier step leaves the later ones of the run before") {
  const ScratchFolder scratch;
  for (const uint64_t step : {1, 2, 30, 40, 3}) save(scratch.path(), {step, 1});
  const onebit::PrunedCheckpoints pruned = onebit::prune_checkpoints(scratch.path(), 1);
  CHECK(pruned.removed == std::vector<fs::path>{scratch / "step-00000002", scratch / "step-00000001"});
  CHECK(pruned.later == std::vector<fs::path>{scratch / "step-00000040", scratch / "step-00000030"});
  CHECK(steps_in(scratch.path()) == std::vector<uint64_t>{40, 30, 3});
}

TEST_CASE("what latest names is kept, whatever was said to be committed") {
  const ScratchFolder scratch;
  for (const uint64_t step : {2, 3, 1}) save(scratch.path(), {step, 1});
  CHECK(onebit::prune_checkpoints(scratch.path(), 1, 3).removed == std::vector<fs::path>{scratch / "step-00000002"});
  CHECK(steps_in(scratch.path()) == std::vector<uint64_t>{3, 1});
  fs::remove(scratch / "latest");
  CHECK(onebit::prune_checkpoints(scratch.path(), 1).removed == std::vector<fs::path>{scratch / "step-00000001"});
}

TEST_CASE("saves under way stay, deletions that were broken off are finished, and links are not followed") {
  const ScratchFolder scratch, elsewhere;
  elsewhere.file("file", "stays");
  for (const uint64_t step : {1, 2}) save(scratch.path(), {step, 1});
  fs::create_directory(scratch / "step-00000003.unfinished");
  fs::create_directory(scratch / "step-00000001.removed");
  fs::create_directory_symlink(elsewhere.path(), scratch / "step-00000001/link");
  fs::create_directory_symlink(elsewhere.path(), scratch / "step-00000000");
  CHECK(onebit::prune_checkpoints(scratch.path(), 1).removed == std::vector<fs::path>{scratch / "step-00000001"});
  CHECK(fs::exists(scratch / "step-00000003.unfinished"));
  CHECK_FALSE(fs::exists(scratch / "step-00000001.removed"));
  CHECK(fs::is_symlink(scratch / "step-00000000"));
  CHECK(contents_of(elsewhere / "file") == "stays");
}
