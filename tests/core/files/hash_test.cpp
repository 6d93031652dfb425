// SPDX-License-Identifier: Apache-2.0
// Hashes, against what other programs say of the same bytes.
#include "files/hash.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "onebit/error.hpp"

using onebit::hash_of;
using onebit::Hasher;
using onebit::HashKind;

TEST_CASE("hashes are those that xxhsum -H2 and sha256sum print") {
  CHECK(hash_of(HashKind::xxh3_128, "") == "99aa06d3014798d86001c324468d497f");
  CHECK(hash_of(HashKind::xxh3_128, "abc") == "06b05ab6733a618578af5f94892f3950");
  CHECK(hash_of(HashKind::sha256, "") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash_of(HashKind::sha256, "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("a long text's hash is the same by whatever instructions, in whatever parts") {
  std::string text(100003, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 131 + 7 + (i >> 9U));
  const std::string expected = "ccbcf5ebc8b2f9fdf41170acd0d19430";  // by libxxhash 0.8.1
  CHECK(hash_of(HashKind::xxh3_128, text) == expected);
  for (const size_t part : {63U, 64U, 65U, 1024U, 4096U, 99999U}) {
    Hasher hasher(HashKind::xxh3_128);
    for (size_t at = 0; at < text.size(); at += part) hasher.update(text.data() + at, std::min(part, text.size() - at));
    CHECK(hasher.digest() == expected);
  }
}

TEST_CASE("bytes may come in any parts, and the next hash begins with none") {
  const std::string text(1000, 'x');
  for (const HashKind kind : {HashKind::xxh3_128, HashKind::sha256}) {
    Hasher hasher(kind);
    for (int twice = 0; twice < 2; ++twice) {
      hasher.update(text.data(), 1);
      hasher.update(text.data(), 0);
      hasher.update(text.data(), 700);
      hasher.update(text.data(), 299);
      const std::string digest = hasher.digest();
      CHECK(digest == hash_of(kind, text));
      CHECK(digest.size() == onebit::digits_of(kind));
    }
  }
}

TEST_CASE("hashes by their names") {
  for (const HashKind kind : {HashKind::xxh3_128, HashKind::sha256}) CHECK(onebit::hash_kind_of(onebit::name_of(kind)) == kind);
  CHECK_THROWS_WITH_AS(onebit::hash_kind_of("md5"), "a hash is xxh3-128 or sha256, found \"md5\"", onebit::Error);
}
