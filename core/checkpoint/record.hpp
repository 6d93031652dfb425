// SPDX-License-Identifier: Apache-2.0
// checkpoint.json: what a checkpoint consists of. It is what the other files are held against, so it carries a hash of itself;
// format.md says how.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "files/hash.hpp"
#include "files/range_writer.hpp"

namespace onebit {

inline constexpr uint64_t kCheckpointFormat = 1;                 // the version that is written, and the latest that is read
inline constexpr uint64_t kLargestRecord = uint64_t{64} << 20U;  // bytes; a file of more is not read into memory

struct RecordedFile {
  std::string name;  // in the checkpoint's folder
  uint64_t bytes = 0;
  std::vector<HashedPiece> pieces;  // cover it, in their order; none where it has no bytes
};

struct CheckpointRecord {
  uint64_t format = kCheckpointFormat;
  uint64_t step = 0;
  int ranks = 1;
  HashKind hash = HashKind::xxh3_128;
  std::vector<RecordedFile> files;
  nlohmann::json session = nlohmann::json::object();  // an object, which is the session's own
};

// The file's text. Throws Error(internal) where parse_record would refuse it.
std::string record_text(const CheckpointRecord& record);
// The text whose last member is yet to come, `{ ... ,` at first, with its hash. For record_text, and for tests.
std::string with_own_hash(std::string text, HashKind kind);

// Every number is in its range, names are plain, and pieces cover their files. file: for errors. Throws
// Error(invalid_argument).
CheckpointRecord parse_record(const std::string& text, const std::filesystem::path& file);
// Of one checkpoint's folder. Refuses folders that their names say to be unfinished or removed.
CheckpointRecord read_record(const std::filesystem::path& folder);

uint64_t bytes_of(const CheckpointRecord& record);  // of all files, without checkpoint.json

}  // namespace onebit
