// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/leftovers.hpp"

#include <algorithm>

#include "checkpoint/folders.hpp"
#include "checkpoint/names.hpp"
#include "onebit/checkpoint.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

bool has_complete(const CheckpointList& list, uint64_t step) {
  return std::any_of(list.entries.begin(), list.entries.end(), [&](const CheckpointEntry& entry) {
    return entry.step == step && entry.state == CheckpointState::complete;
  });
}

// True when it was the only one of its step.
bool put_back(const CheckpointList& list, const CheckpointEntry& replaced, const std::filesystem::path& root) {
  if (has_complete(list, replaced.step)) return false;
  rename_within(replaced.folder, root / folder_name(replaced.step));
  sync_folder(root);
  return true;
}

}  // namespace

void add_line(std::string& lines, const std::string& line) {
  if (!lines.empty() && !line.empty()) lines += '\n';
  lines += line;
}

std::string remove_replaced(const std::filesystem::path& folder, uint64_t step) {
  const std::filesystem::path removed = folder.parent_path() / folder_name(step, CheckpointState::removed);
  try {
    rename_within(folder, removed);
    sync_folder(folder.parent_path());
  } catch (const Error& e) {
    return e.what();
  }
  return remove_folder(removed);
}

std::string clean_up(const std::filesystem::path& root) {
  const CheckpointList list = list_checkpoints(root);
  const auto is_complete = [](const CheckpointEntry& entry) { return entry.state == CheckpointState::complete; };
  if (std::all_of(list.entries.begin(), list.entries.end(), is_complete)) return "";
  sync_folder(root);  // a save that was broken off may not have: on the disk, what is deleted here could have another name
  std::string left;
  for (const CheckpointEntry& entry : list.entries)
    if (entry.state == CheckpointState::removed || entry.state == CheckpointState::unfinished)
      add_line(left, remove_folder(entry.folder));
  for (const CheckpointEntry& entry : list.entries)
    if (entry.state == CheckpointState::replaced && !put_back(list, entry, root))
      add_line(left, remove_replaced(entry.folder, entry.step));
  return left;
}

}  // namespace onebit
