// SPDX-License-Identifier: Apache-2.0
#include "files/safetensors_layout.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "files/dtypes.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

using json = nlohmann::json;

constexpr uint64_t kLargestHeader = 100'000'000;

uint64_t bits_of_element(const SafetensorsLayout::Tensor& tensor) {
  const std::optional<uint64_t> bits = bits_of(tensor.dtype);
  if (!bits)
    throw Error(Code::invalid_argument,
                "tensor \"" + tensor.name + "\": safetensors files have no dtype \"" + tensor.dtype + "\"");
  return *bits;
}

uint64_t bytes_of(const SafetensorsLayout::Tensor& tensor) {
  auto bits = static_cast<int64_t>(bits_of_element(tensor));
  for (const int64_t dim : tensor.shape)
    if (dim < 0 || __builtin_mul_overflow(bits, dim, &bits))
      throw Error(Code::invalid_argument, "tensor \"" + tensor.name + "\": a shape that no file can hold");
  if (bits % 8 != 0)
    throw Error(Code::invalid_argument, "tensor \"" + tensor.name + "\": its elements do not fill whole bytes");
  return static_cast<uint64_t>(bits) / 8;
}

void check_names(const std::vector<SafetensorsLayout::Tensor>& tensors) {
  std::set<std::string_view> names = {"__metadata__"};
  for (const auto& tensor : tensors)
    if (!names.insert(tensor.name).second)
      throw Error(Code::invalid_argument, "a safetensors file cannot have two entries \"" + tensor.name + "\"");
}

}  // namespace

SafetensorsLayout::SafetensorsLayout(std::vector<Tensor> tensors, const TensorMetadata& metadata, uint64_t alignment)
    : tensors_(std::move(tensors)), order_(tensors_.size()), places_(tensors_.size()) {
  check_names(tensors_);
  lay_out();
  std::string text;
  try {
    text = describe(metadata);
  } catch (const json::exception& e) {
    throw Error(Code::invalid_argument, std::string("a name or metadata that is not UTF-8: ") + e.what());
  }
  uint64_t size = text.size() + sizeof size;
  size = (size + alignment - 1) / alignment * alignment - sizeof size;
  if (size > kLargestHeader)
    throw Error(Code::invalid_argument, std::to_string(tensors_.size()) + " tensors need a header above the format's 100 MB");
  text.resize(size, ' ');
  header_.resize(sizeof size);
  std::memcpy(header_.data(), &size, sizeof size);
  header_ += text;
  for (Place& place : places_) place.offset += header_.size();
  file_bytes_ += header_.size();
}

// Offsets are counted from the end of the header, whose size is not known yet.
void SafetensorsLayout::lay_out() {
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::vector<uint64_t> bits;
  for (const Tensor& tensor : tensors_) bits.push_back(bits_of_element(tensor));
  std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) { return bits[a] > bits[b]; });
  for (const size_t tensor : order_) {
    places_[tensor] = {file_bytes_, bytes_of(tensors_[tensor])};
    if (__builtin_add_overflow(file_bytes_, places_[tensor].bytes, &file_bytes_) ||
        file_bytes_ > static_cast<uint64_t>(INT64_MAX) - 2 * kLargestHeader)
      throw Error(Code::invalid_argument, "more data than a file can hold");
  }
}

std::string SafetensorsLayout::describe(const TensorMetadata& metadata) const {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + json(metadata).dump();
  for (const size_t index : order_) {
    const Tensor& tensor = tensors_[index];
    const Place& place = places_[index];
    if (text.size() > 1) text += ',';
    text += json(tensor.name).dump() + R"(:{"dtype":")" + tensor.dtype + R"(","shape":)" + json(tensor.shape).dump() +
            R"(,"data_offsets":)" + json({place.offset, place.offset + place.bytes}).dump() + "}";
  }
  return text + '}';
}

std::vector<SafetensorsLayout::Segment> SafetensorsLayout::segments(uint64_t begin, uint64_t end) const {
  std::vector<Segment> found;
  end = std::min(end, file_bytes_);
  if (begin < std::min<uint64_t>(end, header_.size()))
    found.push_back({Segment::kHeader, begin, std::min<uint64_t>(end, header_.size())});
  const auto ends_before = [&](size_t tensor, uint64_t at) { return places_[tensor].offset + places_[tensor].bytes <= at; };
  for (auto next = std::lower_bound(order_.begin(), order_.end(), begin, ends_before); next != order_.end(); ++next) {
    const Place& place = places_[*next];
    if (place.offset >= end) break;
    const uint64_t from = std::max(begin, place.offset), to = std::min(end, place.offset + place.bytes);
    if (from < to) found.push_back({*next, from - place.offset, to - place.offset});
  }
  return found;
}

}  // namespace onebit
