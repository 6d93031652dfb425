// SPDX-License-Identifier: Apache-2.0
// Copies in sealed memory, one of each content.
#include "loading/private_copy.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "loading/refuse.hpp"
#include "loading/sha256.hpp"

namespace onebit {
namespace {

constexpr int64_t largest_copy = int64_t{4} << 30;  // bytes

[[noreturn]] void fail(const char* what) {
  const int error = errno;
  throw Error(Code::unavailable, fmt::format("a private copy of the file can't be made: {}: {}", what, std::strerror(error)),
              error);
}

// A descriptor until somebody takes it over.
class Held {
 public:
  explicit Held(int descriptor) : descriptor_(descriptor) {}
  ~Held() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  int get() const { return descriptor_; }
  int exchange(int other) { return std::exchange(descriptor_, other); }
  int release() { return exchange(-1); }

 private:
  int descriptor_;
};

// Since Linux 6.3 a system may ask that who makes memory says whether it will hold code; older kernels know no such flag.
int new_memory(const std::string& name) {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING, executable = 0x10;  // MFD_EXEC
  const std::string shown = name.substr(0, 200);                                  // the kernel takes 249 bytes
  const int made = memfd_create(shown.c_str(), flags | executable);
  return made < 0 && errno == EINVAL ? memfd_create(shown.c_str(), flags) : made;
}

void put(int to, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t done = write(to, bytes, count);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("writing to memory");
    bytes += done;
    count -= static_cast<size_t>(done);
  }
}

void copy(int from, int to) {
  constexpr size_t most = 1 << 20;
  const std::unique_ptr<char[]> piece(new char[most]);
  for (off_t at = 0;;) {
    const ssize_t got = pread(from, piece.get(), most, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("reading the file");
    if (got == 0) return;
    at += got;
    if (at > largest_copy) refuse(fmt::format("the file has more than {} bytes, too many for a private copy", largest_copy));
    put(to, piece.get(), static_cast<size_t>(got));
  }
}

bool is_mapped(const std::filesystem::path& path) {
  void* const known = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (known != nullptr) dlclose(known);
  return known != nullptr;
}

std::filesystem::path path_of(int descriptor) { return fmt::format("/proc/{}/fd/{}", getpid(), descriptor); }

// The dynamic loader answers with what it has mapped under a name. Somebody may have closed the descriptors that earlier copies
// had: then the number, and so the name, of one of them is found again.
int with_new_path(int memory) {
  Held held(memory);
  while (is_mapped(path_of(held.get()))) {
    const int next = fcntl(held.get(), F_DUPFD_CLOEXEC, held.get() + 1);
    if (next < 0) fail("no descriptor");
    close(held.exchange(next));
  }
  return held.release();
}

struct Kept {
  PrivateCopy copy;
  dev_t device = 0;
  ino_t number = 0;
  bool is_open() const {
    struct stat status {};
    return fstat(copy.descriptor, &status) == 0 && status.st_dev == device && status.st_ino == number;
  }
};

Kept keep(Held& memory, const std::string& sha256) {
  Kept kept;
  struct stat status {};
  if (fstat(memory.get(), &status) != 0) fail("examining it");
  kept.device = status.st_dev;
  kept.number = status.st_ino;
  const int descriptor = with_new_path(memory.release());
  kept.copy = {descriptor, sha256, path_of(descriptor)};
  return kept;
}

}  // namespace

PrivateCopy private_copy(int descriptor, const std::string& name) {
  static std::mutex mutex;
  static auto& all = *new std::map<std::string, Kept>;
  Held memory(new_memory(name));
  if (memory.get() < 0) fail("no memory for it");
  copy(descriptor, memory.get());
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) fail("sealing it");
  const std::string sha256 = sha256_of(memory.get());
  const std::lock_guard lock(mutex);
  const auto found = all.find(sha256);
  if (found != all.end() && found->second.is_open()) return found->second.copy;
  return (all[sha256] = keep(memory, sha256)).copy;
}

}  // namespace onebit
