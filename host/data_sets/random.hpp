// SPDX-License-Identifier: Apache-2.0
// Random numbers of our own, for the standard library's distributions and shuffle differ from one library to the next: a seed
// means the same model and the same order of data on every machine.
#pragma once

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace onebit::host {

// The streams of a run's seed: below these the tensors of the initial model; from these on one an epoch, for the order of the
// data, and for where a text is cut.
inline constexpr uint64_t kOrderStream = uint64_t{1} << 32, kCutStream = uint64_t{2} << 32;

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Random {
 public:
  // stream: numbers of one seed that have nothing to do with those of another stream.
  explicit Random(uint64_t seed, uint64_t stream = 0) : state_(mixed(mixed(seed) + stream)) {}

  uint64_t next() { return mixed(state_ += 0x9e3779b97f4a7c15u); }
  // From 0 to n - 1, each as likely as the others: the few numbers that would favour some are drawn again.
  uint64_t below(uint64_t n) {
    const uint64_t unfair = -n % n;
    uint64_t drawn = next();
    while (drawn < unfair) drawn = next();
    return drawn % n;
  }
  // From -bound up to bound, in steps of bound * 2^-23: exact in float before the last product.
  float uniform(float bound) { return (static_cast<float>(next() >> 40) * 0x1p-23f - 1.0f) * bound; }

 private:
  static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

// 0 to count - 1 in random order (Fisher and Yates).
inline std::vector<int64_t> shuffled(int64_t count, Random random) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace onebit::host
