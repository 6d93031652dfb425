// SPDX-License-Identifier: Apache-2.0
#include "saving/streamed_copy.hpp"

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

namespace onebit {

namespace hn = hwy::HWY_NAMESPACE;

void copy_streamed(std::byte* to, const std::byte* from, size_t bytes) {
  const hn::ScalableTag<uint8_t> d;
  const size_t lane = hn::Lanes(d), line = 4 * lane;
  const size_t before = (lane - reinterpret_cast<uintptr_t>(to) % lane) % lane;
  if (bytes < before + line) {
    std::memcpy(to, from, bytes);
    return;
  }
  std::memcpy(to, from, before);
  auto* out = reinterpret_cast<uint8_t*>(to + before);
  const auto* in = reinterpret_cast<const uint8_t*>(from + before);
  size_t left = bytes - before;
  for (; left >= line; left -= line, in += line, out += line)
    for (size_t at = 0; at < line; at += lane) hn::Stream(hn::LoadU(d, in + at), d, out + at);
  hwy::FlushStream();
  std::memcpy(out, in, left);
}

}  // namespace onebit
