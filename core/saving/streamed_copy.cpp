// SPDX-License-Identifier: Apache-2.0
#include "saving/streamed_copy.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "saving/streamed_copy.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace onebit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Several pages at once, for a processor fetches ahead within a page, and each waits for memory.
constexpr size_t page = 4096, pages = 8, line = 64, ahead = 4 * line;

HWY_INLINE void stream_line(uint8_t* out, const uint8_t* in) {
  const hn::CappedTag<uint8_t, line> d;
  for (size_t at = 0; at < line; at += hn::Lanes(d)) hn::Stream(hn::LoadU(d, in + at), d, out + at);
}

void stream(std::byte* to, const std::byte* from, size_t bytes) {
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

}  // namespace onebit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {

HWY_EXPORT(stream);

void copy_streamed(std::byte* to, const std::byte* from, size_t bytes) { HWY_DYNAMIC_DISPATCH(stream)(to, from, bytes); }

}  // namespace onebit
#endif
