// SPDX-License-Identifier: Apache-2.0
// Removing old checkpoints: they lose their names first, and that is on the disk before anything in them is deleted.
#include <algorithm>
#include <utility>

#include "checkpoint/folders.hpp"
#include "checkpoint/leftovers.hpp"
#include "checkpoint/names.hpp"
#include "onebit/checkpoint.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;

// The complete ones, the newest first.
std::vector<CheckpointEntry> complete_of(const CheckpointList& list) {
  std::vector<CheckpointEntry> complete;
  std::copy_if(list.entries.begin(), list.entries.end(), std::back_inserter(complete),
               [](const CheckpointEntry& entry) { return entry.state == CheckpointState::complete; });
  return complete;
}

// Of earlier calls, whose renames may not be on the disk. Others need these names.
std::string finish_removals(const CheckpointList& list, const fs::path& root) {
  std::string left;
  bool synchronised = false;
  for (const CheckpointEntry& entry : list.entries) {
    if (entry.state != CheckpointState::removed) continue;
    if (!std::exchange(synchronised, true)) sync_folder(root);
    add_line(left, remove_folder(entry.folder));
  }
  return left;
}

}  // namespace

PrunedCheckpoints prune_checkpoints(const fs::path& root, int keep, std::optional<uint64_t> committed) {
  if (keep < 1) throw Error(Code::invalid_argument, "at least 1 checkpoint is kept, asked for were " + std::to_string(keep));
  PrunedCheckpoints pruned;
  const CheckpointList list = list_checkpoints(root);
  std::vector<CheckpointEntry> complete = complete_of(list);
  if (!committed) committed = list.latest;
  if (!committed && !complete.empty()) committed = complete.front().step;
  pruned.left = finish_removals(list, root);
  std::vector<fs::path> nameless;
  for (const CheckpointEntry& entry : complete) {
    if (entry.step > *committed) {
      pruned.later.push_back(entry.folder);
    } else if (keep-- <= 0 && entry.step != list.latest) {
      nameless.push_back(root / folder_name(entry.step, CheckpointState::removed));
      rename_within(entry.folder, nameless.back());
      pruned.removed.push_back(entry.folder);
    }
  }
  if (!nameless.empty()) sync_folder(root);
  for (const fs::path& folder : nameless) add_line(pruned.left, remove_folder(folder));
  return pruned;
}

}  // namespace onebit
