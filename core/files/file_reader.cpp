// SPDX-License-Identifier: Apache-2.0
#include "files/file_reader.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "files/file_error.hpp"
#include "onebit/error.hpp"

namespace onebit {

FileReader::FileReader(std::filesystem::path file) : file_(std::move(file)) {
  descriptor_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // opening a pipe would wait for ever
  if (descriptor_ < 0) fail_file(file_, "cannot be opened", errno);
  struct stat status = {};
  const int error = ::fstat(descriptor_, &status) == 0 ? 0 : errno;
  if (error == 0 && S_ISREG(status.st_mode)) {
    bytes_ = static_cast<uint64_t>(status.st_size);
    return;
  }
  ::close(descriptor_);
  if (error != 0) fail_file(file_, "cannot be examined", error);
  throw Error(Code::invalid_argument, file_.string() + ": is not a regular file");
}

FileReader::~FileReader() { ::close(descriptor_); }

void FileReader::read(void* out, uint64_t bytes, uint64_t offset) const {
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, to, std::min<uint64_t>(bytes, 1U << 30U), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_file(file_, "cannot be read", errno);
    if (got == 0) throw Error(Code::invalid_argument, file_.string() + ": became shorter while it was read");
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
}

}  // namespace onebit
