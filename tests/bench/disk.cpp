// SPDX-License-Identifier: Apache-2.0
#include "disk.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <system_error>

#include "clock.hpp"

namespace onebit::bench {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t written_at_once = uint64_t{1} << 20U;  // dd bs=1M
constexpr uint64_t read_at_once = uint64_t{128} << 10U;   // as cat does

[[noreturn]] void fail(const fs::path& file, const char* what) {
  throw std::system_error(errno, std::generic_category(), file.string() + " " + what);
}

class OpenFile {
 public:
  OpenFile(const fs::path& file, int flags) : descriptor(::open(file.c_str(), flags | O_CLOEXEC, 0666)) {
    if (descriptor < 0) fail(file, "cannot be opened");
  }
  ~OpenFile() { ::close(descriptor); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  const int descriptor;
};

// Not zeros, which some disks store as nothing.
std::vector<uint64_t> noise() {
  std::mt19937_64 random(1);
  std::vector<uint64_t> words(written_at_once / sizeof(uint64_t));
  std::generate(words.begin(), words.end(), random);
  return words;
}

void write_all(const OpenFile& out, const fs::path& file, const void* from, uint64_t bytes) {
  const auto* next = static_cast<const char*>(from);
  while (bytes > 0) {
    const ssize_t done = ::write(out.descriptor, next, bytes);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail(file, "cannot be written");
    next += done;
    bytes -= static_cast<uint64_t>(done);
  }
}

void read_to_end(const fs::path& file, std::vector<char>& buffer) {
  const OpenFile in(file, O_RDONLY);
  ::posix_fadvise(in.descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
  ssize_t got = 0;
  do {
    got = ::read(in.descriptor, buffer.data(), buffer.size());
    if (got < 0 && errno != EINTR) fail(file, "cannot be read");
  } while (got != 0);
}

// Of its pages, one each.
std::vector<unsigned char> pages_in_memory(const OpenFile& in, const fs::path& file, uint64_t bytes) {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((bytes + page - 1) / page);
  void* const at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, in.descriptor, 0);
  if (at == MAP_FAILED) fail(file, "cannot be mapped");
  const int status = ::mincore(at, bytes, pages.data());
  ::munmap(at, bytes);
  if (status != 0) fail(file, "does not tell what of it is in memory");
  for (unsigned char& each : pages) each &= 1U;  // the other bits mean nothing
  return pages;
}

}  // namespace

TemporaryFolder::TemporaryFolder(const fs::path& parent) {
  std::string pattern = (parent / "onebit_bench_XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) fail(pattern, "cannot be made");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Files files_below(const fs::path& folder) {
  Files files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path());
  return files;
}

uint64_t bytes_of(const Files& files) {
  return std::accumulate(files.begin(), files.end(), uint64_t{0},
                         [](uint64_t sum, const fs::path& file) { return sum + fs::file_size(file); });
}

double write_plainly(const fs::path& file, uint64_t bytes) {
  static const std::vector<uint64_t> piece = noise();
  return seconds_of([&] {
    const OpenFile out(file, O_WRONLY | O_CREAT | O_EXCL);
    for (uint64_t at = 0; at < bytes; at += written_at_once)
      write_all(out, file, piece.data(), std::min(written_at_once, bytes - at));
    if (::fsync(out.descriptor) != 0) fail(file, "cannot be written to the disk");
  });
}

double read_plainly(const Files& files) {
  std::vector<char> buffer(read_at_once);
  return seconds_of([&] {
    for (const fs::path& file : files) read_to_end(file, buffer);
  });
}

bool drop_cached(const Files& files) {
  uint64_t all = 0, kept = 0;
  for (const fs::path& file : files) {
    const OpenFile in(file, O_RDONLY);
    ::posix_fadvise(in.descriptor, 0, 0, POSIX_FADV_DONTNEED);
    const uint64_t bytes = fs::file_size(file);
    if (bytes == 0) continue;
    const std::vector<unsigned char> pages = pages_in_memory(in, file, bytes);
    all += pages.size();
    kept += std::accumulate(pages.begin(), pages.end(), uint64_t{0});
  }
  return kept <= all / 20;
}

void settle(const fs::path& folder) {
  const OpenFile opened(folder, O_RDONLY | O_DIRECTORY);
  if (::syncfs(opened.descriptor) != 0) fail(folder, "cannot be written to the disk");
}

void remove_and_settle(const fs::path& place) {
  fs::remove_all(place);
  settle(place.parent_path());
}

}  // namespace onebit::bench
