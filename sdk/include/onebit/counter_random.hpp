// SPDX-License-Identifier: Apache-2.0
// Random numbers for stochastic codecs: a function of (step, rank, key, element), without a state, so that they are the same
// whatever the threads, the tiles and the order of calls, and after a resume.
//
// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11; the generator of cuRAND, of
// PyTorch on CUDA and of C++26. A bijection of its 128-bit counter (the quad of elements, the rank, the codec's 64-bit key)
// under a 64-bit key (the step): no two numbers of a run come from the same input.
#pragma once

#include <cstdint>

#include "onebit/arithmetic.hpp"

namespace onebit {

// Four words of 32 bits, uniform and independent.
struct Quad {
  uint32_t word[4];
};

ONEBIT_HOST_DEVICE Quad philox(Quad counter, uint32_t key0, uint32_t key1) {
  uint32_t(&c)[4] = counter.word;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * c[0], product1 = uint64_t{0xCD9E8D57} * c[2];
    const uint32_t high0 = static_cast<uint32_t>(product0 >> 32), high1 = static_cast<uint32_t>(product1 >> 32);
    c[0] = high1 ^ c[1] ^ key0;
    c[1] = static_cast<uint32_t>(product1);
    c[2] = high0 ^ c[3] ^ key1;
    c[3] = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9;  // the golden ratio
    key1 += 0xBB67AE85;  // sqrt(3) - 1
  }
  return counter;
}

// The numbers of one block, element by element. step and rank are a batch's, key a piece's: 2 * block where a worker encodes,
// 2 * block + 1 where a server does. Elements are counted in the block, from 0 to below 2^34; of the rank 32 bits count.
class CounterRandom {
 public:
  ONEBIT_HOST_DEVICE CounterRandom(uint64_t step, uint64_t rank, uint64_t key)
      : step0_(static_cast<uint32_t>(step)),
        step1_(static_cast<uint32_t>(step >> 32)),
        counter_{{0, static_cast<uint32_t>(rank), static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)}} {}

  // Of elements 4 index to 4 index + 3.
  ONEBIT_HOST_DEVICE Quad quad(int64_t index) const {
    Quad counter = counter_;
    counter.word[0] = static_cast<uint32_t>(index);
    return philox(counter, step0_, step1_);
  }
  // Of one element: for the few that need one. For all of a block, CounterDraws is four times as fast.
  ONEBIT_HOST_DEVICE uint32_t word(int64_t element) const { return quad(element / 4).word[element % 4]; }
  ONEBIT_HOST_DEVICE bool coin(int64_t element) const { return word(element) >> 31 != 0; }

  // In [0, 1), a multiple of 2^-24: exact in fp32.
  ONEBIT_HOST_DEVICE static float unit(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24F; }

 private:
  uint32_t step0_, step1_;
  Quad counter_;
};

// The numbers of a block's elements 0, 1, 2, ..., one after another.
class CounterDraws {
 public:
  ONEBIT_HOST_DEVICE explicit CounterDraws(const CounterRandom& random) : random_(random) {}
  ONEBIT_HOST_DEVICE uint32_t word() {
    if (element_ % 4 == 0) four_ = random_.quad(element_ / 4);
    return four_.word[element_++ % 4];
  }
  ONEBIT_HOST_DEVICE float unit() { return CounterRandom::unit(word()); }

 private:
  const CounterRandom& random_;
  Quad four_{};
  int64_t element_ = 0;
};

}  // namespace onebit
