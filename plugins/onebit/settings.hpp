// SPDX-License-Identifier: Apache-2.0
// What the compressor `onebit` can be told, on whatever device, and what follows from it.
#pragma once

#include <iterator>
#include <string>

#include "codec.hpp"
#include "onebit/compressor.hpp"

namespace onebit::codec {

struct Settings {
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        text_option("scale", "\"block\"", "block|tensor|bucket",
                    "elements that share one scale: those of a block, tensor or bucket; the papers use tensor and bucket"),
        text_option("norm", "\"l2\"", "l2|l1",
                    "how the scale is computed. l2: root mean square; l1: mean absolute value, which has the least error"),
        integer_option("block", "4096", 32, 65536,
                       "elements per block, a multiple of 32; 4096 take 1.008 bits per element and fit into the L1 cache")};
    return {schema, std::size(schema)};
  }

  explicit Settings(const Options& options)
      : span(span_of(options.text("scale"))),
        norm(options.text("norm") == "l1" ? Norm::l1 : Norm::l2),
        block(options.integer("block")) {
    if (block < 32 || block > 65536 || block % 32 != 0)
      throw Error(Code::invalid_argument,
                  "block is " + std::to_string(block) + "; it must be a multiple of 32 from 32 to 65536");
  }

  // Two statistics a block: its sum, and its elements.
  Codec describe() const { return {sizeof(Codec), block, 2, static_cast<int32_t>(span), 1}; }

  const Span span;
  const Norm norm;
  const int64_t block;

 private:
  static Span span_of(std::string_view scale) {
    return scale == "tensor" ? Span::tensor : scale == "bucket" ? Span::bucket : Span::block;
  }
};

}  // namespace onebit::codec
