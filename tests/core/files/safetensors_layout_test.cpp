// SPDX-License-Identifier: Apache-2.0
// The layout of a file before it is written: what it says is what a reader finds.
#include "files/safetensors_layout.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include "onebit/error.hpp"
#include "support/scratch_folder.hpp"

using onebit::SafetensorsLayout;
using Segment = SafetensorsLayout::Segment;

namespace {

const std::vector<SafetensorsLayout::Tensor> kMixed = {
    {"bytes", "U8", {3}}, {"a", "F32", {2, 3}}, {"empty", "F32", {0, 9}}, {"b", "F64", {5}}, {"scalar", "F32", {}}};

// A file whose every byte of data is the number of its tensor.
std::string numbered(const SafetensorsLayout& layout) {
  std::string bytes = layout.header();
  bytes.resize(layout.file_bytes());
  for (size_t i = 0; i < layout.tensors().size(); ++i)
    bytes.replace(layout.offset(i), layout.bytes(i), std::string(layout.bytes(i), static_cast<char>(i)));
  return bytes;
}

}  // namespace

TEST_CASE("a reader finds each tensor where the layout puts it") {
  const SafetensorsLayout layout(kMixed, {{"key", "value"}});
  const ScratchFolder folder;
  const onebit::SafetensorsReader reader(folder.file("a.safetensors", numbered(layout)));
  CHECK(reader.metadata().at("key") == "value");
  CHECK(reader.entries().size() == kMixed.size());
  for (size_t i = 0; i < kMixed.size(); ++i) {
    const auto& entry = reader.at(kMixed[i].name);
    CHECK(entry.dtype == kMixed[i].dtype);
    CHECK(entry.shape == kMixed[i].shape);
    CHECK(entry.offset == layout.offset(i));
    CHECK(entry.bytes == layout.bytes(i));
    std::string data(entry.bytes, '\x7f');
    reader.read_bytes(entry, 0, entry.bytes, data.data());
    CHECK(data == std::string(entry.bytes, static_cast<char>(i)));
  }
}

TEST_CASE("data begins at a multiple of 64 bytes, and every element at one of its size") {
  for (size_t length = 1; length < 70; ++length) {
    const SafetensorsLayout layout({{std::string(length, 'n'), "U8", {1}}, {"x", "F32", {7}}, {"y", "F64", {2}}});
    CHECK(layout.header().size() % 64 == 0);
    CHECK(layout.offset(2) == layout.header().size());
    CHECK(layout.offset(1) % 4 == 0);
    CHECK(layout.offset(0) == layout.file_bytes() - 1);
  }
}

TEST_CASE("the segments of any bytes of a file") {
  const SafetensorsLayout layout(kMixed);
  const std::string bytes = numbered(layout);
  for (uint64_t begin = 0; begin <= bytes.size(); begin += 3)
    for (uint64_t end = begin; end <= bytes.size(); end += 5) {
      std::string found;
      for (const Segment& segment : layout.segments(begin, end)) {
        CHECK(segment.begin < segment.end);
        found += segment.tensor == Segment::kHeader
                     ? layout.header().substr(segment.begin, segment.end - segment.begin)
                     : std::string(segment.end - segment.begin, static_cast<char>(segment.tensor));
      }
      REQUIRE(found == bytes.substr(begin, end - begin));
    }
  const std::vector<Segment> last = layout.segments(layout.file_bytes() - 2, UINT64_MAX);
  REQUIRE(last.size() == 1);
  CHECK(last[0].tensor == 0);
  CHECK(last[0].begin == 1);
  CHECK(last[0].end == 3);
}

TEST_CASE("what no file can hold has no layout") {
  const auto layout_of = [](const std::string& dtype, std::vector<int64_t> shape) {
    return SafetensorsLayout({{"t", dtype, std::move(shape)}});
  };
  const auto layout_of_all = [](const std::vector<SafetensorsLayout::Tensor>& tensors) { return SafetensorsLayout(tensors); };
  CHECK_THROWS_WITH_AS(layout_of("F33", {1}), "tensor \"t\": safetensors files have no dtype \"F33\"", onebit::Error);
  CHECK_THROWS_WITH_AS(layout_of("F32", {-1}), "tensor \"t\": a shape that no file can hold", onebit::Error);
  CHECK_THROWS_WITH_AS(layout_of("F64", {INT64_MAX}), "tensor \"t\": a shape that no file can hold", onebit::Error);
  CHECK_THROWS_WITH_AS(layout_of("F4", {3}), "tensor \"t\": its elements do not fill whole bytes", onebit::Error);
  CHECK_THROWS_WITH_AS(layout_of_all({{"t", "U8", {}}, {"t", "U8", {}}}), doctest::Contains("two entries \"t\""),
                       onebit::Error);
  CHECK_THROWS_WITH_AS(layout_of_all({{"\xff", "U8", {}}}), doctest::Contains("not UTF-8"), onebit::Error);
  CHECK(layout_of("F4", {4}).bytes(0) == 2);
}

TEST_CASE("bytes of a tensor are read from any place in it, and never from another") {
  const SafetensorsLayout layout(kMixed);
  const ScratchFolder folder;
  const onebit::SafetensorsReader reader(folder.file("a.safetensors", numbered(layout)));
  std::string data(4, '\x7f');
  reader.read_bytes(reader.at("b"), 36, 4, data.data());
  CHECK(data == std::string(4, '\3'));
  CHECK_THROWS_WITH_AS(reader.read_bytes(reader.at("b"), 37, 4, data.data()),
                       doctest::Contains("tensor \"b\" has 40 bytes, asked for were 4 from byte 37"), onebit::Error);
  CHECK_THROWS_AS(reader.read_bytes(reader.at("b"), UINT64_MAX, 4, data.data()), onebit::Error);
}
