// SPDX-License-Identifier: Apache-2.0
#include "files/file_error.hpp"

#include <cerrno>
#include <cstring>

#include "onebit/error.hpp"

namespace onebit {
namespace {

// "" where the system's own words say enough.
const char* advice(int error) {
  switch (error) {
    case ENOSPC:
      return "; free space on that file system, or choose a folder on another one";
    case EDQUOT:
      return "; the user's quota there is used up: free space, have it raised, or choose another folder";
    case EROFS:
      return "; choose another folder, or have that file system mounted for writing";
    case EACCES:
    case EPERM:
      return "; the user that runs this needs the right to write there, and to search each folder above";
    case EIO:
      return "; the disk or the network to it failed: the kernel's log (dmesg) may tell more";
    case ESTALE:
      return "; the server of that network file system no longer knows the file: mount it again";
    case EMFILE:
    case ENFILE:
      return "; too many files are open: raise the limit (ulimit -n)";
    case EFBIG:
      return "; that is above the file system's or the user's limit (ulimit -f) of a file's size";
    default:
      return "";
  }
}

}  // namespace

std::string file_error_text(const std::filesystem::path& file, std::string_view what, int error) {
  return file.string() + ": " + std::string(what) + ": " + std::strerror(error) + advice(error);
}

void fail_file(const std::filesystem::path& file, std::string_view what, int error) {
  throw Error(Code::unavailable, file_error_text(file, what, error), error);
}

}  // namespace onebit
