// SPDX-License-Identifier: Apache-2.0
// Files as plain programs write and read them, which is what checkpoints are compared with: `dd conv=fsync` and `cat`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace onebit::bench {

using Files = std::vector<std::filesystem::path>;

// A folder of its own below that one, gone afterwards.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::filesystem::path& parent);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

Files files_below(const std::filesystem::path& folder);
uint64_t bytes_of(const Files& files);

// Seconds to make a file of so many bytes, one after another, until they are on the disk.
double write_plainly(const std::filesystem::path& file, uint64_t bytes);
// Seconds to read the files, one after another.
double read_plainly(const Files& files);

// The system drops what its memory has of the files, so that the next to read them waits for the disk. False where it keeps
// them, as a tmpfs does, which is memory.
bool drop_cached(const Files& files);

// Waits until the file system of a folder has done what it put off, so that this is not part of what is measured next.
void settle(const std::filesystem::path& folder);
// Deletes a file or folder first.
void remove_and_settle(const std::filesystem::path& place);

}  // namespace onebit::bench
