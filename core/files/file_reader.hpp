// SPDX-License-Identifier: Apache-2.0
// A regular file, read at any place, from several threads if need be.
#pragma once

#include <cstdint>
#include <filesystem>

namespace onebit {

class FileReader {
 public:
  // Throws Error(unavailable) when the system refuses, Error(invalid_argument) for what is no regular file.
  explicit FileReader(std::filesystem::path file);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  const std::filesystem::path& file() const { return file_; }
  uint64_t bytes() const { return bytes_; }  // when it was opened
  // Throws Error(unavailable) when the system refuses, Error(invalid_argument) when the file has become shorter than that.
  void read(void* out, uint64_t bytes, uint64_t offset) const;

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace onebit
