// SPDX-License-Identifier: Apache-2.0
// Writing safetensors: header first, data wherever it belongs, and the file put in its place by one rename.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>

#include "files/file_error.hpp"
#include "files/safetensors_layout.hpp"
#include "onebit/error.hpp"
#include "onebit/safetensors.hpp"

namespace onebit {
namespace {

std::vector<SafetensorsLayout::Tensor> as_fp32(const std::vector<SafetensorsWriter::Tensor>& tensors) {
  std::vector<SafetensorsLayout::Tensor> with_dtype;
  for (const auto& tensor : tensors) with_dtype.push_back({tensor.name, "F32", tensor.shape});
  return with_dtype;
}

// Beside its final place, so that the rename stays within one file system; never a name that exists.
std::filesystem::path temporary_name(const std::filesystem::path& file) {
  static std::atomic<unsigned> counter{0};
  return file.parent_path() /
         ("." + file.filename().string() + "." + std::to_string(::getpid()) + "." + std::to_string(counter++) + ".tmp");
}

void sync_folder(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // the file is in place; a folder that may not be read can't be synchronised
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

struct SafetensorsWriter::State {
  std::filesystem::path file, temporary;
  int descriptor = -1;
  std::optional<SafetensorsLayout> layout;
  std::vector<char> written;  // of one tensor each: threads that write different tensors touch different bytes

  [[noreturn]] void fail(std::string_view what) const { fail_file(file, what, errno); }
  void write_fully(const void* data, uint64_t bytes, uint64_t offset) const {
    const auto* from = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t put = ::pwrite(descriptor, from, std::min<uint64_t>(bytes, 1u << 30), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail("cannot be written");
      from += put;
      offset += static_cast<uint64_t>(put);
      bytes -= static_cast<uint64_t>(put);
    }
  }
  ~State() {
    if (descriptor >= 0) ::close(descriptor);
    if (!temporary.empty()) ::unlink(temporary.c_str());
  }
};

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& file, const std::vector<Tensor>& tensors,
                                     const TensorMetadata& metadata)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.file = file;
  s.written.assign(tensors.size(), 0);
  try {
    s.layout.emplace(as_fp32(tensors), metadata, 8);
  } catch (const Error& e) {
    throw Error(e.code(), file.string() + ": " + e.what());
  }
  const std::filesystem::path temporary = temporary_name(file);
  s.descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (s.descriptor < 0) s.fail("cannot be created");
  s.temporary = temporary;
  s.write_fully(s.layout->header().data(), s.layout->header().size(), 0);
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(size_t index, const float* data) {
  State& s = *state_;
  s.written.at(index) = 0;
  s.write_fully(data, s.layout->bytes(index), s.layout->offset(index));
  s.written[index] = 1;
}

void SafetensorsWriter::commit() {
  State& s = *state_;
  const auto missing = std::find(s.written.begin(), s.written.end(), 0);
  if (missing != s.written.end())
    throw Error(Code::internal,
                s.file.string() + ": tensor \"" + s.layout->tensors()[missing - s.written.begin()].name + "\" was not written");
  if (::fsync(s.descriptor) != 0) s.fail("cannot be written");
  if (::rename(s.temporary.c_str(), s.file.c_str()) != 0) s.fail("cannot be put in its place");
  s.temporary.clear();
  sync_folder(s.file);
}

}  // namespace onebit
