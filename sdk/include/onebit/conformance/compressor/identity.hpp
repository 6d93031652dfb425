// SPDX-License-Identifier: Apache-2.0
// Cases of the identities between values, errors, payload and what decode gives.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "onebit/conformance/compressor/coding.hpp"

namespace onebit::conformance {

// The last bits of sums and products of such numbers: a few roundings of half a unit each.
inline float rounding(float largest) { return 4 * 0x1p-23F * largest; }

// Protects from: error feedback that drifts away: what is not sent must be kept, to the last bit that rounding leaves.
inline void errors_keep_what_is_not_sent(const MakeCompressor& make) {
  const auto codec = make();
  if (codec->describe().feedback == 0) throw NotApplicable("this codec needs no error feedback");
  for (const int64_t n : block_lengths(codec->describe())) {
    Coding coding(*codec, {n, std::min<int64_t>(n, 5)});
    coding.fill(9).fill_errors(10, 0.7F).encode().decode();
    for (const Piece& piece : coding.pieces) {
      const Floats value = coding.of(coding.values, piece), error = coding.of(coding.errors, piece);
      const Floats left = coding.of(coding.new_errors, piece), sent = coding.of(coding.out, piece);
      for (size_t i = 0; i < value.size(); ++i) {
        const float expected = value[i] + error[i] - sent[i];
        const float size = std::max({std::fabs(value[i]), std::fabs(error[i]), std::fabs(sent[i])});
        if (std::fabs(left[i] - expected) <= rounding(size)) continue;
        throw Unmet("new_error is not value + error - decoded: at element " + std::to_string(i) + " of " + std::to_string(n) +
                    ", " + text_of(left[i]) + " is not " + text_of(value[i]) + " + " + text_of(error[i]) + " - " +
                    text_of(sent[i]) + " = " + text_of(expected));
      }
    }
  }
}

// Protects from: reading errors that were already overwritten: the host gives one array for both.
inline void new_errors_may_be_the_errors(const MakeCompressor& make) {
  const auto codec = make();
  if (codec->describe().feedback == 0) throw NotApplicable("this codec needs no error feedback");
  Coding apart(*codec, mixed_lengths(codec->describe())), in_place(*codec, mixed_lengths(codec->describe()));
  apart.fill(11).fill_errors(12, 0.7F).encode();
  in_place.fill(11).fill_errors(12, 0.7F).encode(true);
  require(apart.payload == in_place.payload, "with new_errors = errors the payload is another");
  for (size_t i = 0; i < apart.pieces.size(); ++i) {
    const Floats one = apart.of(apart.new_errors, apart.pieces[i]), other = in_place.of(in_place.errors, apart.pieces[i]);
    require(same_bits(one, other), "with new_errors = errors they come out otherwise, in " + block_text(i, apart.pieces[i]) +
                                       ": " + first_difference(one, other));
  }
}

// Protects from: a mean over ranks that is none: the host decodes the payloads of n ranks with the weight 1/n, and adds.
inline void decode_weighs_and_adds(const MakeCompressor& make) {
  const auto codec = make();
  for (const int64_t n : block_lengths(codec->describe())) {
    Coding coding(*codec, {n});
    const Piece& piece = coding.pieces[0];
    const Floats plain = coding.of(coding.fill(13).encode().decode().out, piece);
    for (const float weight : {1.0F, 0.25F, 1.0F / 3, -2.0F}) {
      std::fill_n(coding.out.data(), n, std::nanf(""));
      const Floats weighed = coding.of(coding.decode(weight).out, piece);
      const Floats before = noises(14, static_cast<size_t>(n), 1);
      std::copy(before.begin(), before.end(), coding.out.data());
      const Floats added = coding.of(coding.decode(weight, true).out, piece);
      float largest = 0;
      for (const float d : plain) largest = std::max(largest, std::fabs(weight * d));
      for (size_t i = 0; i < plain.size(); ++i) {
        const bool weighs = std::fabs(weighed[i] - weight * plain[i]) <= rounding(largest);
        if (weighs && std::fabs(added[i] - (before[i] + weight * plain[i])) <= rounding(largest + std::fabs(before[i])))
          continue;
        throw Unmet("decode with weight " + text_of(weight) + " gave " +
                    (weighs ? text_of(added[i]) + ", adding to " + text_of(before[i]) + "," : text_of(weighed[i])) +
                    " at element " + std::to_string(i) + " of " + std::to_string(n) + ", which with weight 1 decodes to " +
                    text_of(plain[i]));
      }
    }
  }
}

}  // namespace onebit::conformance
