// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/folders.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "files/file_error.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

}  // namespace

void make_folders(const fs::path& folder) {
  if (!folder.has_filename() && folder.has_relative_path()) return make_folders(folder.parent_path());  // "a/b/" is a/b
  struct stat status = {};
  if (::stat(folder.c_str(), &status) == 0) {
    if (!S_ISDIR(status.st_mode)) fail_file(folder, "is not a folder, and one is expected", ENOTDIR);
    return;
  }
  if (errno != ENOENT || folder.empty()) fail_file(folder, "cannot be examined", errno);
  if (folder.has_parent_path()) make_folders(folder.parent_path());
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) fail_file(folder, "cannot be made", errno);
  sync_folder(folder_of(folder));
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail_file(folder, "cannot be opened", errno);
  const int error = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  if (error != 0 && error != EINVAL) fail_file(folder, "what changed in it cannot be written to the disk", error);
}

void rename_within(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_file(from, "cannot be renamed to " + to.filename().string(), errno);
}

bool exchange(const fs::path& one, const fs::path& other) {
  if (::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
    fail_file(one, "cannot be exchanged with " + other.filename().string(), errno);
  return false;
}

std::string remove_folder(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  return error && error != std::errc::no_such_file_or_directory ? file_error_text(folder, "cannot be removed", error.value())
                                                                : "";
}

}  // namespace onebit
