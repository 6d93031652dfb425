// SPDX-License-Identifier: Apache-2.0
// What ranks tell each other at the opening of a step, and what follows from it: the same on every rank, and on the CPU as in a
// kernel, for where tensors are in device memory the host learns it only afterwards.
#pragma once

#include <cmath>
#include <cstdint>

#include "device/gradient_scan.hpp"
#include "onebit/arithmetic.hpp"

namespace onebit {

struct Ballot {  // what a rank says: 40 bytes on the wire, and behind it a bit a tensor, in words of 8 bytes
  int64_t step = 0;
  uint64_t hash = 0;          // of everything that must be equal
  uint32_t flags = 0;         // see below
  float largest = 0;          // magnitude in the local gradient
  double squares = 0;         // of the local gradient, when clipping
  double gradient_scale = 1;  // what this rank's gradients are multiplied by; ranks may differ
};
static_assert(sizeof(Ballot) == 40);

inline constexpr uint32_t ballot_not_finite = 1;      // this rank's gradient can't be used
inline constexpr uint32_t ballot_missed_local = 2;    // it skipped a local step since the last agreement, for that reason
inline constexpr uint32_t ballot_asked_for_sync = 4;  // its step was asked to bring the ranks together
inline constexpr uint32_t ballot_moved = 8;           // its parameters have other memory since the last agreement
inline constexpr uint32_t ballot_saved = 16;          // it has written its part of a checkpoint that is not committed yet

// Whether a rank has a gradient, a bit a tensor: bit t mod 64 of word t / 64.
ONEBIT_HOST_DEVICE int64_t words_of(int64_t tensors) { return (tensors + 63) / 64; }
ONEBIT_HOST_DEVICE bool has_bit(const uint64_t* words, int64_t tensor) {
  return (words[tensor / 64] >> (tensor % 64) & 1U) != 0;
}

// The ballots of all ranks, in rank order, where they are: each with its words.
struct Ballots {
  const void* first = nullptr;
  int64_t count = 0, words = 0;

  ONEBIT_HOST_DEVICE int64_t stride() const { return static_cast<int64_t>(sizeof(Ballot)) + 8 * words; }
  ONEBIT_HOST_DEVICE const Ballot& operator[](int64_t rank) const {
    return *reinterpret_cast<const Ballot*>(static_cast<const char*>(first) + rank * stride());
  }
  // Word w of the tensors that any rank has a gradient of.
  ONEBIT_HOST_DEVICE uint64_t present(int64_t w) const {
    uint64_t any = 0;
    for (int64_t rank = 0; rank < count; ++rank) any |= reinterpret_cast<const uint64_t*>(&(*this)[rank] + 1)[w];
    return any;
  }
};

// From this bit on, a ballot's flags say in which tensor its largest gradient is, or the first that can't be used, so that
// every rank can name it: 1 + its number; 0: none, or one beyond the room.
inline constexpr uint32_t ballot_begun = 32;  // its step began before its gradients were there
inline constexpr uint32_t ballot_tensor_shift = 8;
ONEBIT_HOST_DEVICE uint32_t tensor_flags(int64_t tensor) {
  return tensor < 0 || tensor >= (1 << 24) - 1 ? 0 : static_cast<uint32_t>(tensor + 1) << ballot_tensor_shift;
}
ONEBIT_HOST_DEVICE int64_t tensor_of(const Ballot& ballot) {  // -1: not told
  return static_cast<int64_t>(ballot.flags >> ballot_tensor_shift) - 1;
}

// What the ballots are judged by.
struct Terms {
  double gradient_scale = 1;  // of this rank
  double clip_norm = 0;       // 0: no clipping
  int32_t local = 0;          // a local step: the only ballot is this rank's own
};

struct Verdict {
  int32_t skip = 0;          // nothing of this step may be written
  int32_t skip_tiles = 0;    // nor, in a local step with an unusable gradient, its elements: only its number counts
  float gradient_scale = 1;  // of this rank, clipping included
  float too_large = 0;       // a gradient times its rank's scale, above 2^55; 0: there is none
  double gradient_norm = 0;  // sqrt(mean over ranks of the squared local norms), when clipping
};

// The sum of a number per block, as sums inside a block are taken: block b in lane b mod 32, the lanes halved 16, 8, 4, 2, 1.
inline double sum_by_lanes(const double* blocks, int64_t count) {
  double lanes[32] = {};
  for (int64_t b = 0; b < count; ++b) lanes[b % 32] += blocks[b];
  for (int width = 16; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  return lanes[0];
}

// Ballots that differ in step or hash are an error, which the host tells; here they only stop the step.
ONEBIT_HOST_DEVICE bool same(const Ballots& ballots) {
  for (int64_t rank = 1; rank < ballots.count; ++rank)
    if (ballots[rank].step != ballots[0].step || ballots[rank].hash != ballots[0].hash) return false;
  return true;
}
ONEBIT_HOST_DEVICE bool all_finite(const Ballots& ballots) {
  for (int64_t rank = 0; rank < ballots.count; ++rank)
    if ((ballots[rank].flags & ballot_not_finite) != 0) return false;
  return true;
}

// A rank's scale, with what clipping multiplies all ranks' by.
ONEBIT_HOST_DEVICE float clipped(double scale, const Terms& terms, const Verdict& verdict) {
  if (!(terms.clip_norm > 0) || !(verdict.gradient_norm > terms.clip_norm)) return static_cast<float>(scale);
  return static_cast<float>(scale * terms.clip_norm / verdict.gradient_norm);
}

// sqrt(mean over ranks of the squared norms of what each multiplies by its own scale). In a local step, its own norm is what a
// rank knows of the mean.
ONEBIT_HOST_DEVICE double norm_of(const Ballots& ballots, double scale) {
  bool equal = true;
  double squares = 0, scaled = 0;
  for (int64_t rank = 0; rank < ballots.count; ++rank) {
    const double factor = ballots[rank].gradient_scale;
    equal = equal && factor == scale;
    squares += ballots[rank].squares;
    scaled += factor * factor * ballots[rank].squares;
  }
  const auto count = static_cast<double>(ballots.count);
  return equal ? std::fabs(scale) * std::sqrt(squares / count) : std::sqrt(scaled / count);
}

// The largest gradient of each rank, as it will be sent: scaled and clipped, it must not be larger than a gradient may be.
ONEBIT_HOST_DEVICE void check_scaled(const Ballots& ballots, const Terms& terms, Verdict& verdict) {
  for (int64_t rank = 0; rank < ballots.count && verdict.skip_tiles == 0; ++rank) {
    const float sent = ballots[rank].largest * std::fabs(clipped(ballots[rank].gradient_scale, terms, verdict));
    if (sent <= largest_gradient) continue;
    verdict.skip_tiles = 1;
    verdict.too_large = sent;
  }
}

ONEBIT_HOST_DEVICE Verdict judge(const Ballots& ballots, const Terms& terms) {
  Verdict verdict;
  verdict.skip_tiles = same(ballots) && all_finite(ballots) ? 0 : 1;
  if (verdict.skip_tiles == 0) {
    if (terms.clip_norm > 0) verdict.gradient_norm = norm_of(ballots, terms.gradient_scale);
    verdict.gradient_scale = clipped(terms.gradient_scale, terms, verdict);
    check_scaled(ballots, terms, verdict);
  }
  verdict.skip = terms.local != 0 ? 0 : verdict.skip_tiles;
  return verdict;
}

}  // namespace onebit
