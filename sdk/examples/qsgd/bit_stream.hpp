// SPDX-License-Identifier: Apache-2.0
// Codes of a few bits one after another in words of 32 bits, the first in the lowest bits; the last word is filled up with
// zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

class BitWriter {
 public:
  static size_t size(int64_t bits) { return sizeof(uint32_t) * static_cast<size_t>((bits + 31) / 32); }

  explicit BitWriter(std::byte* to) : to_(to) {}
  void put(uint32_t code, int bits) {
    held_ |= static_cast<uint64_t>(code) << count_;
    count_ += bits;
    if (count_ >= 32) write_word();
  }
  void finish() {
    if (count_ > 0) write_word();
  }

 private:
  void write_word() {
    const auto word = static_cast<uint32_t>(held_);
    std::memcpy(to_, &word, sizeof word);
    to_ += sizeof word;
    held_ >>= 32;
    count_ -= 32;
  }
  std::byte* to_;
  uint64_t held_ = 0;
  int count_ = 0;  // bits held
};

class BitReader {
 public:
  explicit BitReader(const std::byte* from) : from_(from) {}
  uint32_t take(int bits) {
    if (count_ < bits) read_word();
    const uint32_t code = static_cast<uint32_t>(held_) & ((1U << bits) - 1);
    held_ >>= bits;
    count_ -= bits;
    return code;
  }

 private:
  void read_word() {
    uint32_t word;
    std::memcpy(&word, from_, sizeof word);
    from_ += sizeof word;
    held_ |= static_cast<uint64_t>(word) << count_;
    count_ += 32;
  }
  const std::byte* from_;
  uint64_t held_ = 0;
  int count_ = 0;
};
