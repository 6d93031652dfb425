// SPDX-License-Identifier: Apache-2.0
// For loops that stream through memory, a block at a time and several arrays at once. Hardware prefetchers learn a stream anew
// at every page, and a block is only four pages long: asking for what comes 1 KB later makes up for that (a compressed step of
// 1-bit Adam: a tenth less time). Reaching beyond an array is harmless, and mostly right: the next block follows there.
//
//   for (int64_t begin = 0; begin < count; begin += prefetch_run) {
//     prefetch(gradient + begin, parameter + begin);
//     const int64_t end = run_end(begin, count);
//     for (int64_t i = begin; i < end; ++i) ...
//   }
#pragma once

#include <cstdint>

namespace onebit {

constexpr int64_t prefetch_run = 64;  // elements of a run: four cache lines

inline int64_t run_end(int64_t begin, int64_t count) { return begin + prefetch_run < count ? begin + prefetch_run : count; }

// The lines that the run 256 elements after this one will want, of each array.
template <class... Arrays>
inline void prefetch(const Arrays*... arrays) {
  constexpr uintptr_t ahead = 1024, line = 64, run = prefetch_run * sizeof(float);
  for (uintptr_t byte = ahead; byte < ahead + run; byte += line)
    (__builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(arrays) + byte)), ...);
}

}  // namespace onebit
