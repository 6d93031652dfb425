// SPDX-License-Identifier: Apache-2.0
// A save, from the first folder to the name by which it is found. Rank 0 calls these; between the two, all ranks write their
// files into the folder that the first one answers and put them on the disk (RangeWriter::finish). format.md has the protocol.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "checkpoint/record.hpp"

namespace onebit {

struct BegunCheckpoint {
  std::filesystem::path folder;  // empty
  std::string left;  // what earlier saves left and could not be deleted now, and why; "" when nothing. It does no harm
};
// Makes the root where there is none, deletes what broken saves have left in it, and makes the folder of an unfinished
// checkpoint. One run at a time saves into a root. Throws Error(unavailable).
BegunCheckpoint begin_checkpoint(const std::filesystem::path& root, uint64_t step);

struct CommittedCheckpoint {
  std::filesystem::path folder;
  std::string
      left;  // what is left of the one that it replaced, and why; "" when nothing. The next begin_checkpoint tries again
};
// What was begun becomes the checkpoint of its step, replacing one of the same step, and `latest` names it. Throws
// Error(unavailable); then the checkpoints that were there still are, and the text says so where the new one is among them.
CommittedCheckpoint commit_checkpoint(const std::filesystem::path& root, const CheckpointRecord& record);

// After an error, when no rank writes any longer: frees the disk. Answers "", or what could not be deleted, and why.
std::string discard_checkpoint(const BegunCheckpoint& begun);

}  // namespace onebit
