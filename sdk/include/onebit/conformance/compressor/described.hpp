// SPDX-License-Identifier: Apache-2.0
// Cases of what a compressor says of itself.
#pragma once

#include <algorithm>
#include <string>

#include "onebit/conformance/compressor/coding.hpp"

namespace onebit::conformance {

// Protects from: buffers that the host lays out for a codec which then turns out to be another.
inline void describes_itself_soundly(const MakeCompressor& make) {
  const auto codec = make(), other = make();
  const Codec first = codec->describe();
  require(first.block >= 32 && first.block <= 65536 && first.block % 32 == 0,
          "describe: blocks of " + std::to_string(first.block) + " elements, expected a multiple of 32 from 32 to 65536");
  require(first.statistics >= 0 && first.statistics <= 8,
          "describe: " + std::to_string(first.statistics) + " statistics a block, expected 0 to 8");
  require(first.span >= ONEBIT_SPAN_BLOCK && first.span <= ONEBIT_SPAN_BUCKET,
          "describe: the span " + std::to_string(first.span) + " is none of the ONEBIT_SPAN_ numbers");
  require(first.span == ONEBIT_SPAN_BLOCK || first.statistics > 0,
          "describe: a span wider than a block, but no statistics to fold over it");
  Coding(*codec, {32}).fill(1).encode().decode();
  for (const Codec& again : {codec->describe(), other->describe()})
    require(again.block == first.block && again.statistics == first.statistics && again.span == first.span &&
                (again.feedback != 0) == (first.feedback != 0),
            "describe answered something else later, or of another object with the same options");
}

// Protects from: payloads that overlap on the wire, or leave what was in memory there before.
inline void payload_sizes_are_exact(const MakeCompressor& make) {
  const auto codec = make(), other = make();
  for (const int64_t n : block_lengths(codec->describe())) {
    const size_t size = codec->payload_size(n);
    const std::string what = "payload_size(" + std::to_string(n) + ")";
    require(size % 4 == 0, what + " is " + std::to_string(size) + ", expected a multiple of 4");
    require(size <= 64 + 16 * static_cast<size_t>(n), what + " is " + std::to_string(size) + ": that is no compression");
    require(other->payload_size(n) == size, what + " is another of another object with the same options");
    Coding coding(*codec, {n, n, n});
    coding.fill(static_cast<uint64_t>(n)).encode();
    require(coding.payload_untouched_around(), "encode of " + std::to_string(n) + " elements wrote beyond the " +
                                                   std::to_string(size) + " bytes that payload_size answers");
    require(codec->payload_size(n) == size, what + " answered something else later");
  }
}

// Protects from: bytes on the wire that encode did not write: old memory, another on every rank and in every run.
inline void payloads_are_written_whole(const MakeCompressor& make) {
  const auto codec = make();
  for (const int64_t n : block_lengths(codec->describe())) {
    std::vector<unsigned char> before;
    for (const unsigned char memory : {static_cast<unsigned char>(0x00), static_cast<unsigned char>(0xFF)}) {
      Coding coding(*codec, {n});
      std::fill(coding.payload.begin(), coding.payload.end(), memory);
      const std::vector<unsigned char> found = coding.fill(static_cast<uint64_t>(n)).encode().payload_of(coding.pieces[0]);
      const auto kept = std::mismatch(before.begin(), before.end(), found.begin()).first;
      require(kept == before.end(), "byte " + std::to_string(kept - before.begin()) + " of the payload of " +
                                        std::to_string(n) + " elements (" + std::to_string(found.size()) +
                                        " bytes) is what was there before");
      before = found;
    }
  }
}

}  // namespace onebit::conformance
