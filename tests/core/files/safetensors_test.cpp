// SPDX-License-Identifier: Apache-2.0
// safetensors files: what is written is read again, what Python wrote is understood, and every lie is found out.
#include "onebit/safetensors.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "onebit/error.hpp"
#include "support/scratch_folder.hpp"

using onebit::SafetensorsReader;
using onebit::SafetensorsWriter;

namespace {

// A file as the format lays it out, from a header and data that may not fit together.
std::string file_of(const std::string& header, size_t data_bytes) {
  uint64_t size = header.size();
  std::string bytes(sizeof size, '\0');
  std::memcpy(bytes.data(), &size, sizeof size);
  return bytes + header + std::string(data_bytes, '\x01');
}

std::string error_of(const std::filesystem::path& file) {
  try {
    SafetensorsReader reader(file);
  } catch (const onebit::Error& e) {
    return e.what();
  }
  return "no error";
}

void check_error(const std::string& header, size_t data_bytes, const std::string& expected) {
  const ScratchFolder folder;
  const auto file = folder.file("lie.safetensors", file_of(header, data_bytes));
  const std::string error = error_of(file);
  INFO(error);
  CHECK(error.find(expected) != std::string::npos);
  CHECK(error.find(file.string()) == 0);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace

TEST_CASE("what is written is read again, to the bit and in its order") {
  const ScratchFolder folder;
  const std::vector<float> odd = {
      -0.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e-42f, 3.5f, -7.0f};
  const std::vector<float> scalar = {42.0f};
  SafetensorsWriter writer(folder / "a.safetensors", {{"z/\"quoted\" é", {2, 3}}, {"empty", {4, 0}}, {"a", {}}},
                           {{"key", "value"}});
  writer.write(2, scalar.data());
  writer.write(1, nullptr);
  writer.write(0, odd.data());
  writer.commit();

  const SafetensorsReader reader(folder / "a.safetensors");
  REQUIRE(reader.entries().size() == 3);
  CHECK(reader.entries()[0].name == "z/\"quoted\" é");
  CHECK(reader.entries()[1].name == "empty");
  CHECK(reader.entries()[2].name == "a");
  CHECK(reader.entries()[0].shape == std::vector<int64_t>{2, 3});
  CHECK(reader.entries()[1].shape == std::vector<int64_t>{4, 0});
  CHECK(reader.entries()[2].shape.empty());
  CHECK(reader.entries()[2].elements == 1);
  CHECK(reader.metadata().at("key") == "value");
  CHECK(same_bits(reader.read("z/\"quoted\" é"), odd));
  CHECK(reader.read("empty").empty());
  CHECK(same_bits(reader.read("a"), scalar));
  CHECK(reader.find("nobody") == nullptr);
  CHECK_THROWS_WITH_AS(reader.read("nobody"), doctest::Contains("has no tensor \"nobody\""), onebit::Error);
}

TEST_CASE("data begins at a multiple of 8 bytes") {
  for (size_t length = 1; length <= 9; ++length) {
    const ScratchFolder folder;
    SafetensorsWriter writer(folder / "a.safetensors", {{std::string(length, 'n'), {1}}});
    const float value = 1;
    writer.write(0, &value);
    writer.commit();
    CHECK(SafetensorsReader(folder / "a.safetensors").entries()[0].offset % 8 == 0);
  }
}

TEST_CASE("a file written by the Python package is read") {
  const SafetensorsReader reader(ONEBIT_SOURCE_DIR "/tests/golden/python.safetensors");
  CHECK(reader.entries().size() == 5);
  CHECK(reader.metadata().at("made by") == "safetensors 0.8.0");
  CHECK(reader.at("matrix").shape == std::vector<int64_t>{2, 3});
  CHECK(reader.read("matrix") == std::vector<float>{0, 0.25f, 0.5f, 0.75f, 1, 1.25f});
  CHECK(reader.read("scalar") == std::vector<float>{-2.5f});
  CHECK(reader.at("empty").shape == std::vector<int64_t>{0, 4});
  CHECK(reader.read("names with \"quotes\" é") == std::vector<float>{7});
  CHECK(reader.at("halves").dtype == "F16");
  CHECK(reader.read("halves") == std::vector<float>{1, 2, 3});
}

TEST_CASE("every shortened file is refused") {
  const std::string whole = contents_of(ONEBIT_SOURCE_DIR "/tests/golden/python.safetensors");
  REQUIRE(whole.size() > 100);
  const ScratchFolder folder;
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string error = error_of(folder.file("short.safetensors", whole.substr(0, size)));
    CHECK_MESSAGE(error.find("short.safetensors: ") != std::string::npos, size, " bytes: ", error);
  }
  CHECK(error_of(folder.file("long.safetensors", whole + "x")).find("has 1 bytes after the last tensor") != std::string::npos);
}

TEST_CASE("a header length that cannot be is refused before memory is taken for it") {
  const ScratchFolder folder;
  std::string bytes(64, '\xff');
  CHECK(error_of(folder.file("a", bytes)).find("above the format's limit of 100000000 bytes") != std::string::npos);
  const uint64_t length = 1000;
  std::memcpy(bytes.data(), &length, sizeof length);
  CHECK(error_of(folder.file("b", bytes)).find("header length 1000 goes beyond the end of the file (64 bytes)") !=
        std::string::npos);
}

TEST_CASE("headers that are not what they should be") {
  check_error("hello", 0, "header is not JSON: ");
  check_error("", 0, "header is not JSON: ");
  check_error("{\"a\xff\":1}", 0, "header is not JSON: ");
  check_error("{} {}", 0, "header is not JSON: ");
  check_error("[]", 0, "header is a JSON array, expected an object");
  check_error("null", 0, "header is a JSON null, expected an object");
  check_error(R"({"a":)" + std::string(100000, '['), 0, "nested deeper");
  check_error(R"({"__metadata__":7})", 0, "__metadata__ is not an object");
  check_error(R"({"__metadata__":{"k":1}})", 0, "__metadata__ \"k\" is not a string");
  check_error(R"({"a":[]})", 0, "tensor \"a\": is not described by an object");
  check_error(R"({"\u001b[31m":[]})", 0, R"(tensor "\u001b[31m")");
}

TEST_CASE("keys twice or missing") {
  const std::string a = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  check_error("{" + a + "," + a + "}", 4, "header has the key \"a\" twice");
  check_error(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "has the key \"dtype\" twice");
  check_error(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "tensor \"a\": has no dtype");
  check_error(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "tensor \"a\": has no shape");
  check_error(R"({"a":{"dtype":"F32","shape":[1]}})", 4, "tensor \"a\": has no data_offsets");
}

TEST_CASE("values of the wrong kind") {
  check_error(R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4, "dtype is not a string");
  check_error(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4, "shape is not an array of whole numbers");
  check_error(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "shape is not an array of whole numbers");
  check_error(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "shape is not an array of whole numbers");
  check_error(R"({"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}})", 4, "not JSON");
  check_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "data_offsets are not [begin, end]");
  check_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "data_offsets are not [begin, end]");
}

TEST_CASE("tensors of dtypes that nobody asks for do not keep the others from being read") {
  const ScratchFolder folder;
  const std::string others =
      R"("f4":{"dtype":"F4","shape":[2,3],"data_offsets":[4,7]},"f6":{"dtype":"F6_E3M2","shape":[4],"data_offsets":[7,10]},)"
      R"("e8":{"dtype":"F8_E8M0","shape":[3],"data_offsets":[10,13]},"c":{"dtype":"C64","shape":[1],"data_offsets":[13,21]},)"
      R"("fn":{"dtype":"F8_E4M3FNUZ","shape":[1],"data_offsets":[21,22]},"new":{"dtype":"F3\n","shape":[5],"data_offsets":[22,24]})";
  const auto file = folder.file("a", file_of(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)" + others + "}", 24));
  const SafetensorsReader reader(file);
  CHECK(reader.entries().size() == 7);
  CHECK(reader.read("w").size() == 1);
  CHECK(reader.at("f4").elements == 6);
  CHECK(reader.at("f4").bytes == 3);
  for (const auto& [name, dtype] : {std::pair{"f4", "\"F4\""},
                                    {"f6", "\"F6_E3M2\""},
                                    {"e8", "\"F8_E8M0\""},
                                    {"c", "\"C64\""},
                                    {"fn", "\"F8_E4M3FNUZ\""},
                                    {"new", R"("F3\n")"}})
    CHECK_THROWS_WITH_AS(reader.read(name),
                         (file.string() + ": tensor \"" + name + "\" has dtype " + dtype +
                          ", only F32, BF16 and F16 can be read; convert it first")
                             .c_str(),
                         onebit::Error);
  // What is known of them is checked all the same.
  check_error(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2, "shape and dtype make 12 bits, not whole bytes");
  check_error(R"({"a":{"dtype":"C64","shape":[1],"data_offsets":[0,4]}})", 4, "shape and dtype make 8 bytes, data_offsets 4");
  check_error(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 8, "has 4 bytes after the last tensor");
}

TEST_CASE("BF16 and F16 are read as the same numbers in fp32") {
  const ScratchFolder folder;
  constexpr size_t size = 0x10000;  // every 16-bit number
  std::string bytes = file_of(R"({"b":{"dtype":"BF16","shape":[65536],"data_offsets":[0,131072]},)"
                              R"("h":{"dtype":"F16","shape":[65536],"data_offsets":[131072,262144]}})",
                              0);
  for (int twice = 0; twice < 2; ++twice)
    for (size_t half = 0; half < size; ++half) bytes += {static_cast<char>(half & 0xff), static_cast<char>(half >> 8U)};
  const SafetensorsReader reader(folder.file("a", bytes));
  const std::vector<float> b = reader.read("b"), h = reader.read("h");
  for (size_t half = 0; half < size; ++half) {
    CAPTURE(half);
    const auto word = static_cast<uint32_t>(half) << 16U;
    REQUIRE(std::bit_cast<uint32_t>(b[half]) == word);
    const int exponent = static_cast<int>(half >> 10U & 31U), rest = static_cast<int>(half & 0x3ffU);
    double value = exponent == 0 ? std::ldexp(rest, -24) : std::ldexp(1024 + rest, exponent - 25);
    if (exponent == 31) value = rest == 0 ? INFINITY : NAN;
    REQUIRE(std::signbit(h[half]) == (half >= 0x8000));
    if (std::isnan(value))
      REQUIRE(std::isnan(h[half]));
    else
      REQUIRE(static_cast<double>(std::fabs(h[half])) == value);
  }
}

TEST_CASE("data that is not where the header says") {
  check_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4, "data ends at byte 8, but the file has 4");
  check_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "shape and dtype make 8 bytes, data_offsets 4");
  check_error(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,4]}})", 4, "shape and dtype make 8 bytes, data_offsets 4");
  check_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "there are 4 bytes of no tensor before its data");
  check_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8, "has 4 bytes after the last tensor");
  check_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
              8, "tensor \"b\": its data overlaps");
}

TEST_CASE("products of dimensions that overflow") {
  check_error(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
              "more elements than can be counted");
  check_error(R"({"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,0]}})", 0,
              "more elements than can be counted");
  check_error(R"({"a":{"dtype":"F32","shape":[18446744073709551615,0],"data_offsets":[0,0]}})", 0, "more elements than can be");
  check_error(R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,0]}})", 0,
              "not an array of whole numbers");
}

TEST_CASE("files that are not there or not files") {
  const ScratchFolder folder;
  CHECK(error_of(folder / "nothing").find("cannot be opened: No such file") != std::string::npos);
  CHECK(error_of(folder.path()).find("is not a regular file") != std::string::npos);
}

TEST_CASE("a file that was not committed leaves nothing, and what stood there stands") {
  const ScratchFolder folder;
  folder.file("a.safetensors", "old");
  {
    SafetensorsWriter writer(folder / "a.safetensors", {{"a", {1}}});
    CHECK_THROWS_WITH_AS(writer.commit(), doctest::Contains("tensor \"a\" was not written"), onebit::Error);
  }
  CHECK(contents_of(folder / "a.safetensors") == "old");
  const auto left = std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator());
  CHECK(left == 1);
}

TEST_CASE("what cannot be written is refused") {
  const ScratchFolder folder;
  const auto file = folder / "a.safetensors";
  CHECK_THROWS_WITH_AS(SafetensorsWriter(file, {{"a", {1}}, {"a", {2}}}), doctest::Contains("two entries \"a\""),
                       onebit::Error);
  CHECK_THROWS_AS(SafetensorsWriter(file, {{"__metadata__", {1}}}), onebit::Error);
  CHECK_THROWS_AS(SafetensorsWriter(file, {{"a", {-1}}}), onebit::Error);
  CHECK_THROWS_AS(SafetensorsWriter(file, {{"a", {INT64_MAX, 2}}}), onebit::Error);
  CHECK_THROWS_WITH_AS(SafetensorsWriter(file, {{"\xff", {1}}}), doctest::Contains("not UTF-8"), onebit::Error);
  CHECK_THROWS_WITH_AS(SafetensorsWriter(folder / "no/such/a", {{"a", {1}}}), doctest::Contains("cannot be created"),
                       onebit::Error);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("several threads write one file") {
  const ScratchFolder folder;
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (int i = 0; i < 64; ++i) tensors.push_back({"t" + std::to_string(i), {100}});
  SafetensorsWriter writer(folder / "a.safetensors", tensors);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&writer, t] {
      for (size_t i = t; i < 64; i += 4) writer.write(i, std::vector<float>(100, static_cast<float>(i)).data());
    });
  for (std::thread& thread : threads) thread.join();
  writer.commit();
  const SafetensorsReader reader(folder / "a.safetensors");
  for (size_t i = 0; i < 64; ++i) CHECK(reader.read(tensors[i].name) == std::vector<float>(100, static_cast<float>(i)));
}
