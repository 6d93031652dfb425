// SPDX-License-Identifier: Apache-2.0
// Hashes of what files hold. XXH3-128 is as fast as memory and finds every accident; SHA-256, many times slower, also
// withstands somebody who changes files on purpose and cannot change what the hash is compared with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace onebit {

enum class HashKind { xxh3_128, sha256 };

std::string_view name_of(HashKind kind);  // "xxh3-128", "sha256"
// Throws Error(invalid_argument), which names both, for any other name.
HashKind hash_kind_of(std::string_view name);
// In lower-case hexadecimal: 32 or 64.
size_t digits_of(HashKind kind);

// Of bytes that come one after another.
class Hasher {
 public:
  explicit Hasher(HashKind kind);
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void update(const void* data, size_t bytes);
  // Of all bytes since the last one; the next begins with none. XXH3's digits are those of its canonical, big-endian form,
  // which the command xxhsum -H2 prints too.
  std::string digest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string hash_of(HashKind kind, std::string_view bytes);

}  // namespace onebit
