// SPDX-License-Identifier: Apache-2.0
// A run's folder: its lock is that of metrics.jsonl, which ends with the process, however that ends.
#include "training/run_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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

// What is no ordinary file, such as a null device, can't be synchronised or cut: EINVAL.
int unless_impossible(int result) { return result != 0 && errno != EINVAL ? errno : 0; }

// Of the first `bytes` of a file; of fewer where it has not so many.
MetricsMark mark_of(int descriptor, uint64_t bytes) {
  MetricsMark mark;
  std::string piece(1 << 16, '\0');
  while (mark.bytes < bytes) {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(piece.size(), bytes - mark.bytes));
    const ssize_t got = ::pread(descriptor, piece.data(), wanted, static_cast<off_t>(mark.bytes));
    if (got <= 0) break;
    mark.add({piece.data(), static_cast<size_t>(got)});
  }
  return mark;
}

void rename_if_there(const fs::path& file, const fs::path& to) {
  if (::rename(file.c_str(), to.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR)
    fail_to_write(file, errno, "is of an earlier run, and can't be renamed");
}

// 0, or what went wrong.
int write_and_close(int descriptor, const std::string& text) {
  int trouble = write_fully(descriptor, text);
  if (trouble == 0) trouble = unless_impossible(::fsync(descriptor));
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
  rename_if_there(summary(), folder_ / "summary.previous.json");
  rename_if_there(model(), folder_ / "model.previous.safetensors");
}

void RunFolder::claim(bool keep_metrics) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail_to_write(folder_, error.value(), "cannot be made");
  const int descriptor = ::open(metrics().c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) fail_to_write(metrics(), errno);
  lock(descriptor);
  metrics_ = descriptor;
  if (!keep_metrics) truncate(0);
  put_aside();
}

void RunFolder::truncate(uint64_t bytes) {
  if (const int trouble = unless_impossible(::ftruncate(metrics_, static_cast<off_t>(bytes))))
    fail_to_write(metrics(), trouble);
}

MetricsMark RunFolder::mark_metrics() const {
  if (const int trouble = unless_impossible(::fsync(metrics_))) fail_to_write(metrics(), trouble);
  return mark_;
}

bool RunFolder::cut_metrics(const MetricsMark& mark) {
  const MetricsMark found = mark_of(metrics_, mark.bytes);
  const bool known = found.bytes == mark.bytes && found.hash == mark.hash;
  mark_ = known ? mark : MetricsMark();
  truncate(mark_.bytes);
  return known;
}

void RunFolder::add_metrics(const std::string& json_line) {
  const std::string line = json_line + "\n";
  if (const int trouble = write_fully(metrics_, line); trouble != 0) fail_to_write(metrics(), trouble);
  mark_.add(line);
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
