// SPDX-License-Identifier: Apache-2.0
// Cases of what a codec reads and writes.
#pragma once

#include <limits>
#include <string>

#include "onebit/conformance/compressor/coding.hpp"

namespace onebit::conformance {

// Protects from: vectors that are loaded and stored beyond the end of a block, in the memory of the next one, which another
// thread has.
inline void stays_within_its_blocks(const MakeCompressor& make) {
  const auto codec = make();
  for (const int64_t n : block_lengths(codec->describe())) {
    Coding coding(*codec, {n, 1, n});
    const std::string what = " wrote beside a block of " + std::to_string(n) + " elements, in its ";
    coding.fill(3).fill_errors(4, 0.5F).encode();
    require(coding.untouched_around(coding.new_errors), "encode" + what + "new errors");
    require(coding.statistics.intact(), "measure" + what + "statistics");
    coding.encode(true);
    require(coding.untouched_around(coding.errors), "encode in place" + what + "errors");
    coding.decode();
    require(coding.untouched_around(coding.out), "decode" + what + "out");
    coding.decode(0.5F, true);
    require(coding.untouched_around(coding.out), "decode, adding," + what + "out");
  }
}

// Protects from: messages, errors and payloads that are changed under the eyes of those who still need them.
inline void leaves_its_inputs_alone(const MakeCompressor& make) {
  const auto codec = make();
  Coding coding(*codec, mixed_lengths(codec->describe()));
  coding.fill(5).fill_errors(6, 0.5F);
  const Guarded<float> values = coding.values, errors = coding.errors;
  coding.measure();
  const Guarded<double> statistics = coding.statistics;
  require(coding.values == values, "measure changed the values");
  require(coding.errors == errors, "measure changed the errors");
  coding.run(coding.pieces.data(), coding.pieces.size());
  require(coding.values == values, "encode changed the values");
  require(coding.errors == errors, "encode changed the errors, though new_errors is another array");
  require(coding.statistics == statistics, "encode changed the statistics");
  const Guarded<unsigned char> payload = coding.payload;
  coding.decode();
  require(coding.payload == payload, "decode changed the payload");
}

// Protects from: sums over memory that nobody has set: what is beside a block must not matter.
inline void reads_within_its_blocks(const MakeCompressor& make) {
  const auto codec = make();
  const std::vector<int64_t> lengths = {1, 31, 33, std::min<int64_t>(codec->describe().block, 100)};
  Coding one(*codec, lengths), other(*codec, lengths);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (Guarded<float>* array : {&other.values, &other.errors}) std::fill(array->begin(), array->end(), nan);
  std::fill(other.payload.begin(), other.payload.end(), static_cast<unsigned char>(0));
  one.fill(7).fill_errors(8, 0.5F).encode().decode();
  other.fill(7).fill_errors(8, 0.5F);
  other.encode().decode();
  for (size_t i = 0; i < lengths.size(); ++i)
    require(same_bits(one.of(one.out, one.pieces[i]), other.of(other.out, other.pieces[i])),
            "what is beside " + block_text(i, one.pieces[i]) + " in memory changed what it decodes to: " +
                first_difference(one.of(one.out, one.pieces[i]), other.of(other.out, other.pieces[i])));
}

// Protects from: a malicious or broken peer: whatever comes over the network, decode may answer an error, but must not crash,
// hang or write beyond its blocks.
inline void survives_hostile_payloads(const MakeCompressor& make) {
  const auto codec = make();
  for (const int64_t n : block_lengths(codec->describe())) {
    Coding coding(*codec, {n, n});
    for (uint64_t trial = 0; trial < 40; ++trial) {
      for (size_t i = 0; i < coding.payload.size(); ++i)
        coding.payload[i] = trial == 0   ? static_cast<unsigned char>(0xFF)
                            : trial == 1 ? static_cast<unsigned char>(0x00)
                            : trial == 2 ? static_cast<unsigned char>(0x7F)
                                         : static_cast<unsigned char>(128 * (1 + noise(trial, i)));
      try {
        coding.decode(1, trial % 2 == 1);
      } catch (const Error&) {
        continue;
      }
      require(coding.untouched_around(coding.out),
              "decode of a payload of random bytes for " + std::to_string(n) + " elements wrote beside its block");
    }
  }
}

}  // namespace onebit::conformance
