// SPDX-License-Identifier: Apache-2.0
// Checkpoints on a disk. A run's checkpoints are in one folder, the root; core/checkpoint/format.md says what each file of one
// holds. Functions throw Error(unavailable) where the system refuses to read or write, and Error(invalid_argument) where what
// they find is no checkpoint, or a damaged one; the text names the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace onebit {

// What the name of a folder tells.
enum class CheckpointState {
  complete,    // step-00001234: a save was committed
  replaced,    // step-00001234.replaced: the same step was being saved again; whole, and loaded where no other of its step is
  unfinished,  // step-00001234.unfinished: a save is under way, or was broken off
  removed,     // step-00001234.removed: is being deleted, or that was broken off
};

struct CheckpointEntry {
  uint64_t step = 0;
  CheckpointState state = CheckpointState::complete;
  std::filesystem::path folder;
};

struct CheckpointList {
  std::vector<CheckpointEntry> entries;  // the newest step first, and of one step in the order of CheckpointState
  std::optional<uint64_t> latest;        // the step that the file `latest` names: the last one that was committed
};

// By their names alone; nothing of them is read. Without such a folder there are none. Links are not followed.
CheckpointList list_checkpoints(const std::filesystem::path& root);

// The folders that may be loaded, in the order in which to try them: what `latest` names, then the others from the newest step
// on. A folder that is itself a checkpoint is the only one.
std::vector<std::filesystem::path> loadable_checkpoints(const std::filesystem::path& folder);

struct CheckpointInfo {
  struct File {
    std::string name;
    uint64_t bytes = 0;
  };
  uint64_t format = 0;  // version
  uint64_t step = 0;
  int ranks = 0;     // that saved it
  std::string hash;  // "xxh3-128", "sha256"
  std::vector<File> files;
  uint64_t bytes = 0;   // of all files, without checkpoint.json
  std::string session;  // what the session says of itself: a JSON object as text
};

// Reads checkpoint.json alone. folder: of one checkpoint.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& folder);

// Reads all of it, and throws Error(invalid_argument), which names the file and the bytes, where anything is not as it was
// saved.
void verify_checkpoint(const std::filesystem::path& folder);

struct PrunedCheckpoints {
  std::vector<std::filesystem::path> removed;
  // Complete, but of later steps than the committed one: a run that went on from an earlier checkpoint has not reached them,
  // and they may be all that is left of another run.
  std::vector<std::filesystem::path> later;
  std::string left;  // what could not be deleted, and why; "" when nothing. It is no checkpoint any longer, and is tried again
};

// Removes all complete checkpoints but the `keep` newest that are not later than the committed step, and never the one that
// `latest` names. committed: by default what `latest` names, or without it the newest. One folder loses its name before
// anything in it is deleted, so that what is there under its name is whole. Throws Error(invalid_argument) when keep is
// below 1.
PrunedCheckpoints prune_checkpoints(const std::filesystem::path& root, int keep, std::optional<uint64_t> committed = {});

// ---- Session::save and Session::load

// Bytes of the embedder's own that a checkpoint carries: the place in the data, random number generators, an optimizer of its
// own.
struct CheckpointBlob {
  std::string name;
  std::string bytes;
};

struct SaveOptions {
  int keep = 0;                              // complete checkpoints that stay, this one included; 0: all
  std::string hash = "xxh3-128";             // or "sha256"
  bool wait = true;                          // false: save() returns when it has a copy, and a thread writes that
  bool skip_if_busy = false;                 // when wait is false and the last one is still being written: this one is left out
  std::vector<CheckpointBlob> of_rank = {};  // each rank its own
  std::vector<CheckpointBlob> of_all = {};   // those of rank 0
};

struct SaveReport {
  bool begun = false;            // false: left out, or there was none to finish
  uint64_t step = 0;             // steps that had been taken
  std::filesystem::path folder;  // of the checkpoint once it is committed
  bool committed = false;        // it is there; a save that does not wait is committed later
  std::string left;              // what older ones have left on the disk that could not be deleted, and why; "" when nothing
};

struct LoadOptions {
  bool ignore_state = false;  // parameters alone: the optimizer's state, errors and step number start afresh
};

struct LoadReport {
  std::filesystem::path folder;      // of the checkpoint that was loaded
  uint64_t step = 0;                 // steps that had been taken when it was saved
  int ranks = 0;                     // that saved it
  std::vector<std::string> refused;  // newer checkpoints that were not taken, each with the reason
  std::vector<std::string> afresh;   // what was not restored, each with the reason
  std::vector<std::string> changed;  // options that are not as they were, each with both values
  // What this rank saved; with another number of ranks those of all old ranks, in their order, on every rank, each name
  // followed by "@RANK".
  std::vector<CheckpointBlob> of_rank, of_all;
};

}  // namespace onebit
