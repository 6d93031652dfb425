// SPDX-License-Identifier: Apache-2.0
// Writing safetensors: header first, data wherever it belongs, and the file put in its place by one rename.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "onebit/error.hpp"
#include "onebit/safetensors.hpp"

namespace onebit {
namespace {

using json = nlohmann::json;

constexpr uint64_t kLargestHeader = 100'000'000;

struct Extent {
  uint64_t offset;
  uint64_t bytes;
};

uint64_t bytes_of(const SafetensorsWriter::Tensor& tensor) {
  int64_t bytes = sizeof(float);
  for (const int64_t dim : tensor.shape)
    if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes))
      throw Error(Code::invalid_argument, "tensor \"" + tensor.name + "\": a shape that no file can hold");
  return static_cast<uint64_t>(bytes);
}

std::string describe(const SafetensorsWriter::Tensor& tensor, uint64_t begin, uint64_t end) {
  return json(tensor.name).dump() + R"(:{"dtype":"F32","shape":)" + json(tensor.shape).dump() + R"(,"data_offsets":)" +
         json({begin, end}).dump() + "}";
}

// The header's text; fills extents with where each tensor's data will be, counted from the end of the header.
std::string header_of(const std::vector<SafetensorsWriter::Tensor>& tensors, const TensorMetadata& metadata,
                      std::vector<Extent>& extents) {
  std::set<std::string_view> names = {"__metadata__"};
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + json(metadata).dump();
  uint64_t end = 0;
  for (const auto& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      throw Error(Code::invalid_argument, "a safetensors file cannot have two entries \"" + tensor.name + "\"");
    extents.push_back({end, bytes_of(tensor)});
    if (__builtin_add_overflow(end, extents.back().bytes, &end) || end > static_cast<uint64_t>(INT64_MAX) - kLargestHeader)
      throw Error(Code::invalid_argument, "more data than a file can hold");
    if (text.size() > 1) text += ',';
    text += describe(tensor, extents.back().offset, end);
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data begins at a multiple of 8
  if (text.size() > kLargestHeader)
    throw Error(Code::invalid_argument, std::to_string(tensors.size()) + " tensors need a header above the format's 100 MB");
  return text;
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
  std::vector<Tensor> tensors;
  std::vector<Extent> extents;
  std::vector<char> written;  // of one tensor each: threads that write different tensors touch different bytes

  [[noreturn]] void fail(const std::string& what) const {
    const int error = errno;
    throw Error(Code::unavailable, file.string() + ": " + what + ": " + std::strerror(error), error);
  }
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
  s.tensors = tensors;
  s.written.assign(tensors.size(), 0);
  std::string header;
  try {
    header = header_of(tensors, metadata, s.extents);
  } catch (const json::exception& e) {
    throw Error(Code::invalid_argument, file.string() + ": a name or metadata that is not UTF-8: " + e.what());
  }
  const std::filesystem::path temporary = temporary_name(file);
  s.descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (s.descriptor < 0) s.fail("cannot be created");
  s.temporary = temporary;
  const uint64_t size = header.size();
  s.write_fully(&size, sizeof size, 0);
  s.write_fully(header.data(), size, sizeof size);
  for (Extent& extent : s.extents) extent.offset += sizeof size + size;
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(size_t index, const float* data) {
  State& s = *state_;
  const Extent& extent = s.extents.at(index);
  s.write_fully(data, extent.bytes, extent.offset);
  s.written[index] = 1;
}

void SafetensorsWriter::commit() {
  State& s = *state_;
  const auto missing = std::find(s.written.begin(), s.written.end(), 0);
  if (missing != s.written.end())
    throw Error(Code::internal,
                s.file.string() + ": tensor \"" + s.tensors[missing - s.written.begin()].name + "\" was not written");
  if (::fsync(s.descriptor) != 0) s.fail("cannot be written");
  if (::rename(s.temporary.c_str(), s.file.c_str()) != 0) s.fail("cannot be put in its place");
  s.temporary.clear();
  sync_folder(s.file);
}

}  // namespace onebit
