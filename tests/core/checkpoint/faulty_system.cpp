// SPDX-License-Identifier: Apache-2.0
#include "faulty_system.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <string_view>

namespace onebit::test {

#ifndef ONEBIT_SANITIZED
namespace {

bool active = false;
FaultPlan plan;
uint64_t counted = 0;
bool happened = false;
std::vector<std::string> calls;

std::string path_of(int descriptor) {
  char text[4096];
  const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), text, sizeof text);
  return {text, static_cast<size_t>(std::max<ssize_t>(size, 0))};
}

std::string path_at(int folder, const char* path) {
  return folder == AT_FDCWD || *path == '/' ? path : path_of(folder) + "/" + path;
}

// From the plan's folder on; "" for what is elsewhere.
std::string within(const std::string& path) {
  if (path.compare(0, plan.folder.size(), plan.folder) != 0) return "";
  if (path.size() == plan.folder.size()) return ".";
  return path[plan.folder.size()] == '/' ? path.substr(plan.folder.size() + 1) : "";
}

enum class Kind { write, make, other };

// What becomes of a call: `error` instead of it, or, when `cut`, less of it, or the end after it.
struct Verdict {
  int error = 0;
  bool cut = false, end = false;
};

Verdict judge_nth(Kind kind) {
  happened = true;
  switch (plan.fault) {
    case Fault::exit_before:
      _exit(kKilledStatus);
    case Fault::exit_after:
      return {0, false, true};
    case Fault::error:
      return {plan.error};
    case Fault::short_write:
      return {0, true};
    case Fault::full:
      return {kind == Kind::make ? ENOSPC : 0, kind == Kind::write};
    case Fault::none:
      break;
  }
  return {};
}

Verdict judge(const char* name, Kind kind, const std::string& path, const std::string& other = "") {
  const std::string place = active ? within(path) : "";
  if (place.empty()) return {};
  calls.push_back(std::string(name) + " " + place + (other.empty() ? "" : " " + within(other)));
  if (plan.writes_only && kind != Kind::write) return {};
  if (++counted == plan.at) return judge_nth(kind);
  if (plan.fault == Fault::full && plan.at != 0 && counted > plan.at && kind != Kind::other) return {ENOSPC};
  return {};
}

bool counts(int descriptor) { return active && !within(path_of(descriptor)).empty(); }

template <class Real>
auto obey(const Verdict& verdict, const Real& real) -> decltype(real()) {
  if (verdict.error != 0) {
    errno = verdict.error;
    return -1;
  }
  const auto result = real();
  if (verdict.end) _exit(kKilledStatus);
  return result;
}

size_t size_under(const Verdict& verdict, size_t size) { return verdict.cut ? (size + 1) / 2 : size; }

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) static auto* const real = next<decltype(::name)>(#name)

}  // namespace
#endif

void begin_faults(const FaultPlan& wanted) {
#ifndef ONEBIT_SANITIZED
  plan = wanted;
  counted = 0;
  happened = false;
  calls.clear();
  active = true;
#else
  static_cast<void>(wanted);
#endif
}

void end_faults() {
#ifndef ONEBIT_SANITIZED
  active = false;
#endif
}

#ifndef ONEBIT_SANITIZED
bool fault_happened() { return happened; }
const std::vector<std::string>& recorded_calls() { return calls; }
#else
bool fault_happened() { return false; }
const std::vector<std::string>& recorded_calls() {
  static const std::vector<std::string> none;
  return none;
}
#endif

}  // namespace onebit::test

#ifndef ONEBIT_SANITIZED
using namespace onebit::test;  // NOLINT: the file's own names, in what has C's

extern "C" {

ssize_t write(int file, const void* data, size_t size) {
  REAL(write);
  if (!active) return real(file, data, size);
  const Verdict verdict = judge("write", Kind::write, path_of(file));
  return obey(verdict, [&] { return real(file, data, size_under(verdict, size)); });
}

ssize_t pwrite(int file, const void* data, size_t size, off_t offset) {
  REAL(pwrite);
  if (!active) return real(file, data, size, offset);
  const Verdict verdict = judge("write", Kind::write, path_of(file));
  return obey(verdict, [&] { return real(file, data, size_under(verdict, size), offset); });
}
ssize_t pwrite64(int file, const void* data, size_t size, off64_t offset) { return pwrite(file, data, size, offset); }

int fsync(int file) {
  REAL(fsync);
  if (!counts(file)) return real(file);
  return obey(judge("fsync", Kind::other, path_of(file)), [] { return 0; });
}
int fdatasync(int file) { return fsync(file); }

int ftruncate(int file, off_t size) noexcept {
  REAL(ftruncate);
  if (!active) return real(file, size);
  return obey(judge("ftruncate", Kind::make, path_of(file)), [&] { return real(file, size); });
}
int ftruncate64(int file, off64_t size) noexcept { return ftruncate(file, size); }

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  REAL(renameat2);
  if (!active) return real(from_folder, from, to_folder, to, flags);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (exchange && plan.no_exchange) {
    errno = EINVAL;
    return -1;
  }
  return obey(judge(exchange ? "exchange" : "rename", Kind::other, path_at(from_folder, from), path_at(to_folder, to)),
              [&] { return real(from_folder, from, to_folder, to, flags); });
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  return renameat2(from_folder, from, to_folder, to, 0);
}
int rename(const char* from, const char* to) noexcept { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int folder, const char* path, int flags) noexcept {
  REAL(unlinkat);
  if (!active) return real(folder, path, flags);
  return obey(judge("unlink", Kind::other, path_at(folder, path)), [&] { return real(folder, path, flags); });
}
int unlink(const char* path) noexcept { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char* path) noexcept { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) noexcept {
  struct stat status = {};
  const bool folder = lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
  return unlinkat(AT_FDCWD, path, folder ? AT_REMOVEDIR : 0);
}

int mkdirat(int folder, const char* path, mode_t mode) noexcept {
  REAL(mkdirat);
  if (!active) return real(folder, path, mode);
  return obey(judge("mkdir", Kind::make, path_at(folder, path)), [&] { return real(folder, path, mode); });
}
int mkdir(const char* path, mode_t mode) noexcept { return mkdirat(AT_FDCWD, path, mode); }

// Only what makes a file counts.
int openat(int folder, const char* path, int flags, ...) {
  REAL(openat);
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (!active || (flags & O_CREAT) == 0) return real(folder, path, flags, mode);
  return obey(judge("create", Kind::make, path_at(folder, path)), [&] { return real(folder, path, flags, mode); });
}
int openat64(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return openat(folder, path, flags, mode);
}
int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return openat(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return openat(AT_FDCWD, path, flags, mode);
}

}  // extern "C"
#endif
