// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/commit.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "checkpoint/folders.hpp"
#include "checkpoint/leftovers.hpp"
#include "checkpoint/names.hpp"
#include "files/file_error.hpp"
#include "files/range_writer.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;

// A file or a link of this name is not ours to move away.
bool has_former(const fs::path& place) {
  struct stat status = {};
  if (::lstat(place.c_str(), &status) != 0) {
    if (errno != ENOENT) fail_file(place, "cannot be examined", errno);
    return false;
  }
  if (!S_ISDIR(status.st_mode)) fail_file(place, "a checkpoint needs this name: move away what has it", ENOTDIR);
  return true;
}

// Where two names cannot be exchanged, the old one keeps another name until the new one is in place: at no moment is neither
// there, for a list of checkpoints has both.
void replace_in_two_steps(const fs::path& unfinished, const fs::path& place, const fs::path& old) {
  rename_within(place, old);
  try {
    sync_folder(place.parent_path());
    rename_within(unfinished, place);
  } catch (const Error&) {
    ::rename(old.c_str(), place.c_str());  // if not, the next begin_checkpoint does
    throw;
  }
}

// Answers where the one of the same step is now; an empty path when there was none.
fs::path put_in_place(const fs::path& root, uint64_t step) {
  const fs::path unfinished = root / folder_name(step, CheckpointState::unfinished), place = root / folder_name(step);
  if (!has_former(place)) {
    rename_within(unfinished, place);
    return {};
  }
  if (exchange(unfinished, place)) return unfinished;
  const fs::path old = root / folder_name(step, CheckpointState::replaced);
  replace_in_two_steps(unfinished, place, old);
  return old;
}

void write_latest(const fs::path& root, uint64_t step) {
  const fs::path place = root / kLatestName, unfinished = root / (std::string(kLatestName) + ".unfinished");
  if (::unlink(unfinished.c_str()) != 0 && errno != ENOENT) fail_file(unfinished, "cannot be removed", errno);
  write_file(unfinished, folder_name(step) + "\n");
  rename_within(unfinished, place);
  sync_folder(root);
}

// From here on the checkpoint has its name; whoever is told of an error has to know.
void point_to(const fs::path& root, uint64_t step) {
  try {
    sync_folder(root);
    write_latest(root, step);
  } catch (const Error& e) {
    throw Error(
        e.code(),
        folder_name(step) + " is complete, but a loss of power may undo that, or another one be loaded first: " + e.what(),
        e.native());
  }
}

}  // namespace

BegunCheckpoint begin_checkpoint(const fs::path& root, uint64_t step) {
  make_folders(root);
  BegunCheckpoint begun{root / folder_name(step, CheckpointState::unfinished), clean_up(root)};
  if (::mkdir(begun.folder.c_str(), 0777) != 0) fail_file(begun.folder, "cannot be made", errno);
  return begun;
}

CommittedCheckpoint commit_checkpoint(const fs::path& root, const CheckpointRecord& record) {
  const fs::path unfinished = root / folder_name(record.step, CheckpointState::unfinished);
  write_file(unfinished / kRecordName, record_text(record));
  sync_folder(unfinished);
  const fs::path replaced = put_in_place(root, record.step);
  point_to(root, record.step);
  return {root / folder_name(record.step), replaced.empty() ? "" : remove_replaced(replaced, record.step)};
}

std::string discard_checkpoint(const BegunCheckpoint& begun) { return remove_folder(begun.folder); }

}  // namespace onebit
