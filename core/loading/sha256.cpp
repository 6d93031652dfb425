// SPDX-License-Identifier: Apache-2.0
// Nettle's SHA-256, with the processor's own instructions where it has them. Unlike larger libraries it keeps no state in the
// process that an embedder could meet: no configuration file, nothing to set up, nothing at exit.
#include "loading/sha256.hpp"

#include <nettle/sha2.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "onebit/error.hpp"

namespace onebit {

std::string sha256_of(int descriptor) {
  constexpr size_t most = 64 * 1024;
  const std::unique_ptr<uint8_t[]> piece(new uint8_t[most]);
  sha256_ctx state;
  sha256_init(&state);
  for (off_t at = 0;;) {
    const ssize_t got = pread(descriptor, piece.get(), most, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(Code::unavailable, std::string("reading the file failed: ") + std::strerror(errno), errno);
    if (got == 0) break;
    sha256_update(&state, static_cast<size_t>(got), piece.get());
    at += got;
  }
  std::array<uint8_t, SHA256_DIGEST_SIZE> digest{};
  sha256_digest(&state, digest.size(), digest.data());
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

}  // namespace onebit
