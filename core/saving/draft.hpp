// SPDX-License-Identifier: Apache-2.0
// The files of a save before they are written: what is in them, and which bytes of them this rank writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/record.hpp"
#include "checkpoint/shares.hpp"
#include "files/hash.hpp"
#include "files/safetensors_layout.hpp"
#include "onebit/checkpoint.hpp"
#include "saving/parts.hpp"
#include "saving/stored.hpp"

namespace onebit {

inline constexpr const char *kModelFile = "model.safetensors", *kStateFile = "state.safetensors";

// Bytes of a file that a rank writes; own: of a file of its own, which it makes.
struct FileShare {
  std::string file;
  uint64_t file_bytes = 0;
  ByteRange range{0, 0};
  bool own = false;
};

class Draft {
 public:
  // What the parts and the options' blobs hold is read later, so they stay as they are until then. Throws
  // Error(invalid_argument) for names that no file can have.
  Draft(const SessionParts& parts, const SaveOptions& options, uint64_t step);

  const std::vector<FileShare>& shares() const { return shares_; }
  uint64_t bytes() const;  // of all shares
  // The bytes [begin, end) of a share's file. streamed: past the processor's caches.
  void read(size_t share, uint64_t begin, uint64_t end, std::byte* out, bool streamed) const;

 private:
  struct File {
    std::vector<Stored> contents;
    SafetensorsLayout layout;
  };
  void add(std::string name, std::vector<Stored> contents, uint64_t step);

  std::string rank_text_;
  std::vector<File> files_;  // by share
  std::vector<FileShare> shares_;
};

// A share's bytes, a piece at a time.
inline constexpr uint64_t kSavedPiece = uint64_t{4} << 20U;
template <class Next>  // next(begin, end) answers where these bytes are
RecordedFile write_share(const std::filesystem::path& folder, const FileShare& share, HashKind hash, Next&& next) {
  const std::filesystem::path file = folder / share.file;
  if (share.own) create_file(file, share.file_bytes);
  RangeWriter writer(file, hash);
  writer.begin(share.range.begin);
  for (uint64_t at = share.range.begin; at < share.range.end;) {
    const uint64_t now = share.range.end - at < kSavedPiece ? share.range.end - at : kSavedPiece;
    writer.write(next(at, at + now), now);
    at += now;
  }
  return {share.file, share.file_bytes, writer.finish()};
}

}  // namespace onebit
