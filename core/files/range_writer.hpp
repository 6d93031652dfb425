// SPDX-License-Identifier: Apache-2.0
// Several ranks write one file, each its own ranges of bytes, and hash what they write, so that nobody reads it again for that.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "files/hash.hpp"

namespace onebit {

// The bytes [begin, end) of a file, and their hash.
struct HashedPiece {
  uint64_t begin = 0, end = 0;
  std::string hash;
};

// A file of so many zeros, as a hole where the file system can. Throws Error(unavailable), also when there is one of this name.
void create_file(const std::filesystem::path& file, uint64_t bytes);

// What one rank writes of a file that is there. Ranges ascend and do not overlap; those of different ranks may be written at
// the same time, also from different hosts. Throws Error(unavailable) when the system refuses; what it has written so far then
// stays.
class RangeWriter {
 public:
  static constexpr uint64_t kLargestPiece = uint64_t{16} << 20U;

  RangeWriter(std::filesystem::path file, HashKind kind);
  ~RangeWriter();
  RangeWriter(const RangeWriter&) = delete;
  RangeWriter& operator=(const RangeWriter&) = delete;

  // The next range begins here, not before the end of the last one, else Error(internal).
  void begin(uint64_t offset);
  // The next bytes of the range.
  void write(const void* data, uint64_t bytes);
  // Everything is on the disk when this returns: it calls fsync, also when nothing was written, and closes the file. Pieces
  // have at most kLargestPiece bytes and end where their range does.
  std::vector<HashedPiece> finish();

 private:
  void put(const char* data, uint64_t bytes);
  void end_piece();

  std::filesystem::path file_;
  int descriptor_;
  Hasher hasher_;
  uint64_t piece_begin_ = 0, offset_ = 0;
  std::vector<HashedPiece> pieces_;
};

// A small file of its own, complete and on the disk when this returns; its entry in the folder is not yet.
void write_file(const std::filesystem::path& file, std::string_view text);

}  // namespace onebit
