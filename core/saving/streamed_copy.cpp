// SPDX-License-Identifier: Apache-2.0
#include "saving/streamed_copy.hpp"

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace onebit {

namespace hn = hwy::HWY_NAMESPACE;

namespace {

// Several pages at once, for a processor fetches ahead within a page, and each waits for memory.
constexpr size_t page = 4096, pages = 8, line = 64, ahead = 4 * line;

void stream_line(uint8_t* out, const uint8_t* in) {
  const hn::ScalableTag<uint8_t> d;
  for (size_t at = 0; at < line; at += hn::Lanes(d)) hn::Stream(hn::LoadU(d, in + at), d, out + at);
}

}  // namespace

void copy_streamed(std::byte* to, const std::byte* from, size_t bytes) {
  const size_t before = std::min(bytes, (line - reinterpret_cast<uintptr_t>(to) % line) % line);
  std::memcpy(to, from, before);
  auto* out = reinterpret_cast<uint8_t*>(to + before);
  const auto* in = reinterpret_cast<const uint8_t*>(from + before);
  size_t left = bytes - before;
  for (; left >= pages * page; left -= pages * page, in += pages * page, out += pages * page)
    for (size_t at = 0; at < page; at += line)
      for (size_t first = at; first < pages * page; first += page) {
        hwy::Prefetch(in + first + ahead);
        stream_line(out + first, in + first);
      }
  hwy::FlushStream();
  std::memcpy(out, in, left);
}

}  // namespace onebit
