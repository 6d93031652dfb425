// SPDX-License-Identifier: Apache-2.0
// Opening a library's file, its hash, and whether it stayed as it was.
#include "loading/library_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "loading/private_copy.hpp"
#include "loading/refuse.hpp"
#include "loading/sha256.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

LibraryFile::Identity identity_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, status.st_size, status.st_mtim};
}

[[noreturn]] void fail(const char* what, int error) {
  throw Error(Code::unavailable, std::string(what) + ": " + std::strerror(error), error);
}

}  // namespace

// The path has no links: should one appear, or anything that would wait for a writer, that is an error and no wait.
LibraryFile::LibraryFile(const std::filesystem::path& file, const Owners& owners) {
  Way way = way_to(file, owners);
  path_ = std::move(way.file);
  doubt_ = std::move(way.doubt);
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (descriptor_ < 0) fail("the file can't be read", errno);
  try {
    examine();
    original_ = identity_;
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

void LibraryFile::examine() {
  struct stat status {};
  if (fstat(descriptor_, &status) != 0) fail("the file can't be examined", errno);
  if (!S_ISREG(status.st_mode)) refuse("expected a regular file, and it is none any more");
  identity_ = identity_of(status);
  changed_ = status.st_ctim;
}

void LibraryFile::make_private() {
  const PrivateCopy copy = private_copy(descriptor_, path_.filename().string());
  const int own = fcntl(copy.descriptor, F_DUPFD_CLOEXEC, 3);
  if (own < 0) fail("the file can't be read", errno);
  close(std::exchange(descriptor_, own));
  private_path_ = copy.path;
  doubt_.clear();
  examine();
  identity_.written = {};  // the attempt to write to it, which fails, counts as a change
}

std::optional<LibraryFile::Identity> LibraryFile::identity_at(const std::filesystem::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return std::nullopt;
  return identity_of(status);
}

LibraryFile::~LibraryFile() { close(descriptor_); }

std::string LibraryFile::sha256() const { return sha256_of(descriptor_); }

void LibraryFile::check_unchanged() const {
  if (is_private()) return;
  struct stat status {};
  const bool there = lstat(path_.c_str(), &status) == 0;
  if (!there || !(identity_of(status) == identity_) || status.st_ctim.tv_sec != changed_.tv_sec ||
      status.st_ctim.tv_nsec != changed_.tv_nsec)
    throw Error(Code::invalid_argument, "the file was changed while it was being loaded; begin anew when that has ended");
}

}  // namespace onebit
