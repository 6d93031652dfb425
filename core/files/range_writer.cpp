// SPDX-License-Identifier: Apache-2.0
#include "files/range_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "files/file_error.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

constexpr uint64_t kSlice = uint64_t{1} << 20U;  // hashed and then written: the second finds it in the processor's cache

int open_existing(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) fail_file(file, "cannot be opened for writing", errno);
  return descriptor;
}

}  // namespace

void create_file(const std::filesystem::path& file, uint64_t bytes) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) fail_file(file, "cannot be created", errno);
  const int error = ::ftruncate(descriptor, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  ::close(descriptor);
  if (error != 0) fail_file(file, "cannot be given its size of " + std::to_string(bytes) + " bytes", error);
}

RangeWriter::RangeWriter(std::filesystem::path file, HashKind kind)
    : file_(std::move(file)), descriptor_(open_existing(file_)), hasher_(kind) {}

RangeWriter::~RangeWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void RangeWriter::begin(uint64_t offset) {
  if (offset < offset_)
    throw Error(Code::internal, file_.string() + ": a range from byte " + std::to_string(offset) +
                                    " comes after one that ends at byte " + std::to_string(offset_));
  end_piece();
  piece_begin_ = offset_ = offset;
}

void RangeWriter::write(const void* data, uint64_t bytes) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const uint64_t now = std::min({bytes, kSlice, piece_begin_ + kLargestPiece - offset_});
    hasher_.update(from, now);
    put(from, now);
    from += now;
    bytes -= now;
    if (offset_ == piece_begin_ + kLargestPiece) end_piece();
  }
}

void RangeWriter::put(const char* data, uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t done = ::pwrite(descriptor_, data, bytes, static_cast<off_t>(offset_));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail_file(file_, "cannot be written", done < 0 ? errno : EIO);  // nothing, without a reason: no second try
    data += done;
    offset_ += static_cast<uint64_t>(done);
    bytes -= static_cast<uint64_t>(done);
  }
}

void RangeWriter::end_piece() {
  if (offset_ > piece_begin_) pieces_.push_back({piece_begin_, offset_, hasher_.digest()});
  piece_begin_ = offset_;
}

std::vector<HashedPiece> RangeWriter::finish() {
  end_piece();
  if (::fsync(descriptor_) != 0) fail_file(file_, "cannot be written to the disk", errno);
  // Network file systems may say only now that there is no space.
  if (::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR) fail_file(file_, "cannot be written", errno);
  return std::move(pieces_);
}

void write_file(const std::filesystem::path& file, std::string_view text) {
  create_file(file, text.size());
  RangeWriter writer(file, HashKind::xxh3_128);
  writer.write(text.data(), text.size());
  writer.finish();
}

}  // namespace onebit
