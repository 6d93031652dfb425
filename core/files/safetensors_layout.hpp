// SPDX-License-Identifier: Apache-2.0
// A safetensors file before it is written: its header, and where each byte of each tensor will be. Ranks that compute the same
// layout can each write a part of the file, and know what is in it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "onebit/safetensors.hpp"

namespace onebit {

class SafetensorsLayout {
 public:
  struct Tensor {
    std::string name;
    std::string dtype;  // of the format: "F32", "F64", "U8", ...
    std::vector<int64_t> shape;
  };
  // What the bytes of a file are: some of the header's, or some of one tensor's data.
  struct Segment {
    static constexpr size_t kHeader = SIZE_MAX;
    size_t tensor;        // in the tensors given, or kHeader
    uint64_t begin, end;  // counted in bytes from the beginning of that tensor's data, or of the header
  };

  // alignment: of the data's first byte in the file, a multiple of 8; blanks after the header make it so. Data lies in the
  // order given, wider dtypes before narrower ones, so that each element is aligned to its size: bytes cut at a multiple of 8
  // in the file then are whole elements. Throws Error(invalid_argument): an unknown dtype, names twice or not in UTF-8, sizes
  // that no file can have.
  explicit SafetensorsLayout(std::vector<Tensor> tensors, const TensorMetadata& metadata = {}, uint64_t alignment = 64);

  const std::vector<Tensor>& tensors() const { return tensors_; }
  // The file's first bytes: the header's length, its JSON, blanks.
  const std::string& header() const { return header_; }
  uint64_t file_bytes() const { return file_bytes_; }
  // Of a tensor's data, in the file.
  uint64_t offset(size_t tensor) const { return places_[tensor].offset; }
  uint64_t bytes(size_t tensor) const { return places_[tensor].bytes; }

  // What the bytes [begin, end) of the file are, in their order.
  std::vector<Segment> segments(uint64_t begin, uint64_t end) const;

 private:
  struct Place {
    uint64_t offset, bytes;
  };

  void lay_out();
  std::string describe(const TensorMetadata& metadata) const;

  std::vector<Tensor> tensors_;
  std::vector<size_t> order_;  // of the data: tensors by their offset
  std::vector<Place> places_;
  std::string header_;
  uint64_t file_bytes_ = 0;
};

}  // namespace onebit
