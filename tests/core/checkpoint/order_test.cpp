// SPDX-License-Identifier: Apache-2.0
// What a loss of power would leave, which no test can try: so the order of calls is held against the rules by which it does no
// harm. Whatever is renamed is on the disk before; whatever is deleted has lost its name on the disk before.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "faulty_system.hpp"
#include "onebit/checkpoint.hpp"
#include "saving.hpp"
#include "support/scratch_folder.hpp"

namespace fs = std::filesystem;
using namespace onebit::test;

namespace {

bool is_below(const std::string& path, const std::string& folder) {
  return path.compare(0, folder.size() + 1, folder + "/") == 0;
}

std::string folder_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

// Follows the calls, and knows what is not on the disk yet: contents of files, and changes of folders.
class Disk {
 public:
  void follow(const std::string& call) {
    std::istringstream words(call);
    std::string what, path, to;
    words >> what >> path >> to;
    INFO(call);
    if (what == "fsync") {
      pending_.erase(path);
    } else if (what == "write" || what == "ftruncate") {
      pending_[path] = call;
    } else if (what == "create" || what == "mkdir") {
      pending_[path] = pending_[folder_of(path)] = call;
    } else if (what == "unlink") {
      check_has_lost_its_name(path);
      pending_.erase(path);
    } else {
      check_is_on_disk(path);
      pending_.erase(path);
      pending_[folder_of(to)] = call;
    }
  }

 private:
  // The file, or the folder and all that is in it.
  void check_is_on_disk(const std::string& path) const {
    for (const auto& [other, call] : pending_)
      if (other == path || is_below(other, path)) FAIL_CHECK(other, " is renamed and was not synchronised after: ", call);
  }
  void check_has_lost_its_name(const std::string& path) const {
    CHECK_MESSAGE(path.find('.') < path.find('/'), path, " is deleted from what has the name of a checkpoint");
    const auto root = pending_.find(".");
    if (root != pending_.end()) FAIL_CHECK(path, " is deleted, and its new name may not be on the disk: ", root->second);
  }

  std::map<std::string, std::string> pending_;
};

template <class Act>
std::vector<std::string> calls_of(const fs::path& root, bool no_exchange, const Act& act) {
  FaultPlan plan;
  plan.folder = root.string();
  plan.no_exchange = no_exchange;
  begin_faults(plan);
  act();
  end_faults();
  Disk disk;
  for (const std::string& call : recorded_calls()) disk.follow(call);
  return recorded_calls();
}

size_t place_of(const std::vector<std::string>& calls, const std::string& call) {
  const auto found = std::find(calls.begin(), calls.end(), call);
  CHECK_MESSAGE(found != calls.end(), call);
  return found - calls.begin();
}

bool skipped() {
  if (!calls_can_fail) MESSAGE("SKIPPED: under a sanitizer, which has its own calls of the system");
  return !calls_can_fail;
}

}  // namespace

TEST_CASE("a save puts everything on the disk before it counts") {
  if (skipped()) return;
  const ScratchFolder scratch;
  const auto calls = calls_of(scratch.path(), false, [&] { save(scratch.path(), {5, 1}); });
  const size_t renamed = place_of(calls, "rename step-00000005.unfinished step-00000005");
  CHECK(calls.at(renamed - 1) == "fsync step-00000005.unfinished");
  CHECK(calls.at(renamed - 2) == "fsync step-00000005.unfinished/checkpoint.json");
  CHECK(calls.at(renamed + 1) == "fsync .");
  CHECK(calls.at(calls.size() - 2) == "rename latest.unfinished latest");
  CHECK(calls.back() == "fsync .");
}

TEST_CASE("the same step again: the former one is deleted when the new one has its name on the disk") {
  if (skipped()) return;
  const ScratchFolder scratch;
  save(scratch.path(), {5, 1});
  auto calls = calls_of(scratch.path(), false, [&] { save(scratch.path(), {5, 2}); });
  const size_t named = place_of(calls, "rename latest.unfinished latest");
  CHECK(place_of(calls, "exchange step-00000005.unfinished step-00000005") < named);
  CHECK(named < place_of(calls, "rename step-00000005.unfinished step-00000005.removed"));
  calls = calls_of(scratch.path(), true, [&] { save(scratch.path(), {5, 3}); });
  const size_t moved = place_of(calls, "rename step-00000005 step-00000005.replaced");
  CHECK(calls.at(moved + 1) == "fsync .");
  CHECK(calls.at(moved + 2) == "rename step-00000005.unfinished step-00000005");
  CHECK(calls.back() == "unlink step-00000005.removed");
}

TEST_CASE("a root that is made is on the disk, with the folders above it") {
  if (skipped()) return;
  const ScratchFolder scratch;
  const auto calls = calls_of(scratch.path(), false, [&] { onebit::begin_checkpoint(scratch / "a/b/", 5); });
  CHECK(calls == std::vector<std::string>{"mkdir a", "fsync .", "mkdir a/b", "fsync a", "mkdir a/b/step-00000005.unfinished"});
}

TEST_CASE("a prune renames, and that is on the disk before anything is deleted") {
  if (skipped()) return;
  const ScratchFolder scratch;
  for (const uint64_t step : {1, 2, 3}) save(scratch.path(), {step, 1});
  auto calls = calls_of(scratch.path(), false, [&] { onebit::prune_checkpoints(scratch.path(), 1); });
  CHECK(std::vector<std::string>(calls.begin(), calls.begin() + 3) ==
        std::vector<std::string>{"rename step-00000002 step-00000002.removed", "rename step-00000001 step-00000001.removed",
                                 "fsync ."});
  fs::rename(scratch / "step-00000003", scratch / "step-00000003.removed");
  calls = calls_of(scratch.path(), false, [&] { onebit::prune_checkpoints(scratch.path(), 1); });
  CHECK(calls.front() == "fsync .");
}
