// SPDX-License-Identifier: Apache-2.0
// Compressor `vote`: one bit an element, its sign, and nothing else. Decoded it is +1 or -1, so that the server's mean counts
// votes, and its own encoding is the majority. No scale, no statistics, and no error feedback: a vote is not a number from
// which something is left over.
//
// Ties. Where an even number of ranks is split evenly, and where a rank has no opinion (0), one bit can't say so: a coin is
// thrown, by a generator that is a function of step, rank, block and element. So a tie moves an element by nothing on average,
// no sign is preferred, and every run, with any number of threads, throws the same coins. Three sixths less three sixths is not
// quite 0 in fp32: what is within 2^-16 of it counts as a tie, too. So messages are votes, +1, -1 or 0, not numbers of any
// size.
//
// Payload of n elements: ceil(n / 32) words of 32 bits; element i is bit i mod 32 of word i / 32, 1 = up.
#pragma once

#include <algorithm>
#include <cstring>
#include <iterator>

#include "onebit/plugin.hpp"

class Vote final : public onebit::StochasticBlockCompressor {
 public:
  static onebit::Slice<const onebit_schema> options() { return {nullptr, 0}; }
  Vote(const onebit::Services&, const onebit::Options&) {}

  onebit::Codec describe() const override { return {sizeof(onebit::Codec), 4096, 0, ONEBIT_SPAN_BLOCK, 0}; }
  size_t payload_size(int64_t count) const override { return sizeof(uint32_t) * static_cast<size_t>((count + 31) / 32); }

  void encode_block(const float* values, const float*, float*, int64_t count, const double*,
                    const onebit::CounterRandom& random, std::byte* payload) const override {
    for (int64_t first = 0; first < count; first += 32, payload += sizeof(uint32_t)) {
      uint32_t word = 0;
      for (int64_t i = first; i < std::min(first + 32, count); ++i) {
        const bool up = values[i] > kTie || (!(values[i] < -kTie) && random.coin(i));
        word |= static_cast<uint32_t>(up) << (i - first);
      }
      std::memcpy(payload, &word, sizeof word);
    }
  }

  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    for (int64_t first = 0; first < count; first += 32, payload += sizeof(uint32_t)) {
      uint32_t word;
      std::memcpy(&word, payload, sizeof word);
      for (int64_t i = first; i < std::min(first + 32, count); ++i) {
        const float vote = (word >> (i - first) & 1) != 0 ? weight : -weight;
        out[i] = add ? out[i] + vote : vote;
      }
    }
  }

 private:
  static constexpr float kTie = 0x1p-16F;
};
