// SPDX-License-Identifier: Apache-2.0
// Several writers of one file: every byte in its place, and every piece with its hash.
#include "files/range_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "files/file_reader.hpp"
#include "onebit/error.hpp"
#include "support/scratch_folder.hpp"

using onebit::HashedPiece;
using onebit::HashKind;
using onebit::RangeWriter;

namespace {

std::string varied_bytes(size_t bytes) {
  std::string text(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * i >> 7U);
  return text;
}

void check_pieces(const std::vector<HashedPiece>& pieces, const std::string& text) {
  for (const HashedPiece& piece : pieces) {
    CHECK(piece.end - piece.begin <= RangeWriter::kLargestPiece);
    CHECK(piece.hash ==
          onebit::hash_of(HashKind::xxh3_128, std::string_view(text).substr(piece.begin, piece.end - piece.begin)));
  }
}

}  // namespace

TEST_CASE("writers at the same time make one file") {
  const ScratchFolder folder;
  const std::string text = varied_bytes(300'000);
  const auto file = folder / "a";
  onebit::create_file(file, text.size());
  std::vector<std::vector<HashedPiece>> pieces(3);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < 3; ++rank)
    threads.emplace_back([&, rank] {
      RangeWriter writer(file, HashKind::xxh3_128);
      for (size_t range = 0; range < 2; ++range) {
        const size_t begin = range * 150'000 + rank * 50'000;
        writer.begin(begin);
        for (size_t at = begin; at < begin + 50'000; at += 12'500) writer.write(text.data() + at, 12'500);
      }
      pieces[rank] = writer.finish();
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(contents_of(file) == text);
  for (const auto& of_rank : pieces) {
    CHECK(of_rank.size() == 2);
    check_pieces(of_rank, text);
  }
}

TEST_CASE("pieces are cut where they get too large, and where ranges end") {
  const ScratchFolder folder;
  const std::string text = varied_bytes(RangeWriter::kLargestPiece * 2 + 5);
  onebit::create_file(folder / "a", text.size());
  RangeWriter writer(folder / "a", HashKind::xxh3_128);
  writer.begin(0);
  writer.write(text.data(), text.size());
  const std::vector<HashedPiece> pieces = writer.finish();
  REQUIRE(pieces.size() == 3);
  CHECK(pieces[0].end == RangeWriter::kLargestPiece);
  CHECK(pieces[1].end == RangeWriter::kLargestPiece * 2);
  CHECK(pieces[2].end == text.size());
  check_pieces(pieces, text);
}

TEST_CASE("a range before the last one, a file that is there, and one that is not") {
  const ScratchFolder folder;
  onebit::create_file(folder / "a", 10);
  CHECK_THROWS_WITH_AS(onebit::create_file(folder / "a", 10), doctest::Contains("a: cannot be created: File exists"),
                       onebit::Error);
  CHECK_THROWS_WITH_AS(RangeWriter(folder / "b", HashKind::sha256),
                       doctest::Contains("b: cannot be opened for writing: No such file"), onebit::Error);
  RangeWriter writer(folder / "a", HashKind::sha256);
  writer.begin(2);
  writer.write("xyz", 3);
  CHECK_THROWS_WITH_AS(writer.begin(4), doctest::Contains("a range from byte 4 comes after one that ends at byte 5"),
                       onebit::Error);
  const std::vector<HashedPiece> pieces = writer.finish();
  REQUIRE(pieces.size() == 1);
  CHECK(pieces[0].hash == onebit::hash_of(HashKind::sha256, "xyz"));
  CHECK(contents_of(folder / "a") == std::string("\0\0xyz\0\0\0\0\0", 10));
}

TEST_CASE("a full device is told as such") {
  RangeWriter writer("/dev/full", HashKind::xxh3_128);
  const std::string text = "text";
  CHECK_THROWS_WITH_AS(writer.write(text.data(), text.size()),
                       "/dev/full: cannot be written: No space left on device; free space on that file system, or choose a "
                       "folder on another one",
                       onebit::Error);
}

TEST_CASE("a reader of a file at any place") {
  const ScratchFolder folder;
  const onebit::FileReader reader(folder.file("a", "0123456789"));
  CHECK(reader.bytes() == 10);
  char out[4] = {};
  reader.read(out, 3, 6);
  CHECK(std::string(out) == "678");
  CHECK_THROWS_WITH_AS(reader.read(out, 3, 8), doctest::Contains("a: became shorter while it was read"), onebit::Error);
  CHECK_THROWS_WITH_AS(onebit::FileReader(folder.path()), doctest::Contains("is not a regular file"), onebit::Error);
}
