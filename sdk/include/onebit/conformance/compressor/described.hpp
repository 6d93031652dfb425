// Cases of what a compressor says of itself.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "onebit/compressor.hpp"
#include "onebit/conformance/unmet.hpp"

namespace onebit::conformance {

using MakeCompressor = std::function<std::unique_ptr<Compressor>()>;

// Protects from: buffers that the host lays out for a codec which then turns out to be another.
inline void describes_itself_soundly(const MakeCompressor& make) {
  const auto codec = make();
  const Codec first = codec->describe();
  require(first.block >= 32 && first.block <= 65536 && first.block % 32 == 0,
          "describe: blocks of " + std::to_string(first.block) + " elements, expected a multiple of 32 from 32 to 65536");
  require(first.statistics >= 0 && first.statistics <= 8,
          "describe: " + std::to_string(first.statistics) + " statistics a block, expected 0 to 8");
  require(first.span >= ONEBIT_SPAN_BLOCK && first.span <= ONEBIT_SPAN_BUCKET,
          "describe: the span " + std::to_string(first.span) + " is none of the ONEBIT_SPAN_ numbers");
  require(first.span == ONEBIT_SPAN_BLOCK || first.statistics > 0,
          "describe: a span wider than a block, but no statistics to fold over it");
}

}  // namespace onebit::conformance
