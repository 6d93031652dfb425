// SPDX-License-Identifier: Apache-2.0
#include "files/hash.hpp"

#include <nettle/sha2.h>
#include <spdlog/fmt/fmt.h>
#include <xxhash.h>

#include <array>
#include <new>

#include "files/xxh3_wide.hpp"
#include "onebit/error.hpp"

namespace onebit {

std::string_view name_of(HashKind kind) { return kind == HashKind::sha256 ? "sha256" : "xxh3-128"; }

HashKind hash_kind_of(std::string_view name) {
  for (const HashKind kind : {HashKind::xxh3_128, HashKind::sha256})
    if (name == name_of(kind)) return kind;
  throw Error(Code::invalid_argument, fmt::format("a hash is xxh3-128 or sha256, found \"{}\"", name));
}

size_t digits_of(HashKind kind) { return 2 * (kind == HashKind::sha256 ? SHA256_DIGEST_SIZE : sizeof(XXH128_canonical_t)); }

struct Hasher::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  HashKind kind;
  std::unique_ptr<XXH3_state_t, Free> xxh3;  // made by xxhash, for its alignment
  sha256_ctx sha256;
  const bool wide = has_xxh3_wide();
};

Hasher::Hasher(HashKind kind) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.kind = kind;
  sha256_init(&s.sha256);
  if (kind == HashKind::sha256) return;
  s.xxh3.reset(XXH3_createState());
  if (s.xxh3 == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(s.xxh3.get());
}

Hasher::~Hasher() = default;

void Hasher::update(const void* data, size_t bytes) {
  if (state_->kind == HashKind::sha256)
    sha256_update(&state_->sha256, bytes, static_cast<const uint8_t*>(data));
  else if (state_->wide)
    update_xxh3_wide(state_->xxh3.get(), data, bytes);
  else
    XXH3_128bits_update(state_->xxh3.get(), data, bytes);
}

std::string Hasher::digest() {
  State& s = *state_;
  if (s.kind == HashKind::sha256) {
    std::array<uint8_t, SHA256_DIGEST_SIZE> bytes{};
    sha256_digest(&s.sha256, bytes.size(), bytes.data());  // which begins anew
    return fmt::format("{:02x}", fmt::join(bytes, ""));
  }
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, XXH3_128bits_digest(s.xxh3.get()));
  XXH3_128bits_reset(s.xxh3.get());
  return fmt::format("{:02x}", fmt::join(bytes.digest, ""));
}

std::string hash_of(HashKind kind, std::string_view bytes) {
  Hasher hasher(kind);
  hasher.update(bytes.data(), bytes.size());
  return hasher.digest();
}

}  // namespace onebit
