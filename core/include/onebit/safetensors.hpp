// SPDX-License-Identifier: Apache-2.0
// Files of named tensors in the safetensors format: 8 bytes of header length, a JSON header, then the data, little-endian and
// without gaps. Traces and checkpoints are such files, readable by the format's Python package. A file that is truncated or
// whose header lies gives an error that names it, never wrong data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace onebit {

class FileReader;

using TensorMetadata = std::map<std::string, std::string, std::less<>>;  // the header's __metadata__

// Opens a file and checks its whole header; data is read when asked for, straight to where it belongs. Reading is thread-safe.
class SafetensorsReader {
 public:
  struct Entry {
    std::string name;
    std::string dtype;  // "F32", "BF16", ..., or one that is not known here, as the file has it
    std::vector<int64_t> shape;
    uint64_t elements = 0;
    uint64_t offset = 0;  // of the first byte, in the file
    uint64_t bytes = 0;
  };

  explicit SafetensorsReader(const std::filesystem::path& file);
  ~SafetensorsReader();
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;

  // In the order of their data in the file.
  const std::vector<Entry>& entries() const { return entries_; }
  const TensorMetadata& metadata() const { return metadata_; }
  // NULL when there is none of this name.
  const Entry* find(std::string_view name) const;
  // Throws Error(invalid_argument) when there is none of this name.
  const Entry& at(std::string_view name) const;

  // The dtypes that can be read as fp32, all exactly: F32, BF16 and F16. Tensors of any other do not keep a file from being
  // read.
  static bool reads(std::string_view dtype);
  // Copies the entry's elements to out, which has room for them. Throws Error(unsupported), naming tensor and dtype, unless
  // reads(dtype).
  void read(const Entry& entry, float* out) const;
  std::vector<float> read(std::string_view name) const;
  // Copies the bytes [begin, begin + bytes) of the entry's data to out, as they are in the file and whatever its dtype is.
  // Throws Error(internal) when it has fewer.
  void read_bytes(const Entry& entry, uint64_t begin, uint64_t bytes, void* out) const;

 private:
  void require_readable(const Entry& entry) const;

  std::unique_ptr<const FileReader> reader_;
  std::vector<Entry> entries_;
  std::map<std::string, size_t, std::less<>> by_name_;
  TensorMetadata metadata_;
};

// Writes a file of fp32 tensors whose names and shapes are known beforehand. The data may come in any order and from several
// threads. The file appears, whole, at commit(); before that it is a temporary file beside its place, removed when things fail.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
  };

  // The tensors' data is laid out in the order given.
  SafetensorsWriter(const std::filesystem::path& file, const std::vector<Tensor>& tensors, const TensorMetadata& metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // index: in the tensors given. Each is written once; on disjoint tensors, thread-safe.
  void write(size_t index, const float* data);
  // Throws Error(internal) when a tensor was not written.
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace onebit
