// SPDX-License-Identifier: Apache-2.0
// A run's folder: its lock is that of metrics.jsonl, which ends with the process, however that ends.
#include "training/run_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "command/output.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_to_write(const fs::path& file, int trouble, const char* what = "cannot be written") {
  throw Error(Code::unavailable, file.string() + ": " + what + ": " + std::strerror(trouble), trouble);
}

// 0, or what went wrong.
int write_and_close(int descriptor, const std::string& text) {
  int trouble = write_fully(descriptor, text);
  if (trouble == 0 && ::fsync(descriptor) != 0 && errno != EINVAL) trouble = errno;  // EINVAL: nothing to synchronise there
  if (::close(descriptor) != 0 && trouble == 0) trouble = errno;
  return trouble;
}

}  // namespace

RunFolder::~RunFolder() {
  if (claimed()) ::close(metrics_);
}

// A file system without locks leaves it to people not to start two runs in one folder.
void RunFolder::lock(int descriptor) const {
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && !S_ISREG(status.st_mode)) return;  // what others use, too, such as a null device
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(descriptor);
  throw Error(
      Code::unavailable,
      folder_.string() + ": another run is writing its results there; wait for its end, or choose another folder (--out)",
      EWOULDBLOCK);
}

void RunFolder::put_aside() const {
  const int descriptor = claimed() ? -1 : ::open(metrics().c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (descriptor >= 0) {
    lock(descriptor);
    ::close(descriptor);
  }
  if (::rename(summary().c_str(), (folder_ / "summary.previous.json").c_str()) != 0 && errno != ENOENT && errno != ENOTDIR)
    fail_to_write(summary(), errno, "is of an earlier run, and can't be renamed");
}

void RunFolder::claim() {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail_to_write(folder_, error.value(), "cannot be made");
  const int descriptor = ::open(metrics().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) fail_to_write(metrics(), errno);
  lock(descriptor);
  metrics_ = descriptor;
  if (::ftruncate(metrics_, 0) != 0 && errno != EINVAL) fail_to_write(metrics(), errno);  // EINVAL: no ordinary file
  put_aside();
}

void RunFolder::add_metrics(const std::string& json_line) {
  if (const int trouble = write_fully(metrics_, json_line + "\n"); trouble != 0) fail_to_write(metrics(), trouble);
}

void RunFolder::write_summary(const std::string& json) const { write_whole(summary(), json); }

void write_whole(const fs::path& file, const std::string& text) {
  fs::path temporary = file;
  temporary += ".tmp";
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) fail_to_write(file, errno);
  int trouble = write_and_close(descriptor, text);
  if (trouble == 0 && std::rename(temporary.c_str(), file.c_str()) != 0) trouble = errno;
  if (trouble == 0) return;
  ::unlink(temporary.c_str());
  fail_to_write(file, trouble);
}

}  // namespace onebit::host
