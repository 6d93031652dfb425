// SPDX-License-Identifier: Apache-2.0
// What ranks tell each other at the opening of a step, and what follows from it: the same on every rank, and on the CPU as in a
// kernel, for where tensors are in device memory the host learns it only afterwards.
#pragma once

#include <cmath>
#include <cstdint>

#include "device/wire_type.hpp"
#include "onebit/arithmetic.hpp"

namespace onebit {

struct Ballot {  // what a rank says; 32 bytes on the wire
  int64_t step = 0;
  uint64_t hash = 0;   // of everything that must be equal
  uint32_t flags = 0;  // see below
  float largest = 0;   // magnitude in the local gradient, where a dense round wants to know
  double squares = 0;  // of the local gradient, when clipping
};
static_assert(sizeof(Ballot) == 32);

inline constexpr uint32_t ballot_not_finite = 1;    // this rank's gradient can't be used
inline constexpr uint32_t ballot_missed_local = 2;  // it skipped a local step since the last agreement, for that reason

// From this bit on, a ballot's flags say in which tensor its largest gradient is, or the first that can't be used, so that
// every rank can name it: 1 + its number; 0: none, or one beyond the room.
inline constexpr uint32_t ballot_tensor_shift = 8;
ONEBIT_HOST_DEVICE uint32_t tensor_flags(int64_t tensor) {
  return tensor < 0 || tensor >= (1 << 24) - 1 ? 0 : static_cast<uint32_t>(tensor + 1) << ballot_tensor_shift;
}
ONEBIT_HOST_DEVICE int64_t tensor_of(const Ballot& ballot) {  // -1: not told
  return static_cast<int64_t>(ballot.flags >> ballot_tensor_shift) - 1;
}

// What the ballots are judged by.
struct Terms {
  double gradient_scale = 1;
  double clip_norm = 0;  // 0: no clipping
  int32_t fp16 = 0;      // gradients travel as fp16
  int32_t local = 0;     // a local step: the only ballot is this rank's own
};

struct Verdict {
  int32_t skip = 0;          // nothing of this step may be written
  int32_t skip_tiles = 0;    // nor, in a local step with an unusable gradient, its elements: only its number counts
  float gradient_scale = 1;  // clipping included
  float beyond_wire = 0;     // the gradient that fp16 could not carry; 0: there is none
  int64_t beyond_wire_rank = 0;
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
ONEBIT_HOST_DEVICE bool same(const Ballot* ballots, int64_t count) {
  for (int64_t rank = 1; rank < count; ++rank)
    if (ballots[rank].step != ballots[0].step || ballots[rank].hash != ballots[0].hash) return false;
  return true;
}
ONEBIT_HOST_DEVICE bool all_finite(const Ballot* ballots, int64_t count) {
  for (int64_t rank = 0; rank < count; ++rank)
    if ((ballots[rank].flags & ballot_not_finite) != 0) return false;
  return true;
}

// In a local step, its own norm is what a rank knows of the mean.
ONEBIT_HOST_DEVICE void clip(const Ballot* ballots, int64_t count, const Terms& terms, Verdict& verdict) {
  verdict.gradient_scale = static_cast<float>(terms.gradient_scale);
  if (!(terms.clip_norm > 0)) return;
  double squares = 0;
  for (int64_t rank = 0; rank < count; ++rank) squares += ballots[rank].squares;
  verdict.gradient_norm = std::fabs(terms.gradient_scale) * std::sqrt(squares / static_cast<double>(count));
  if (verdict.gradient_norm > terms.clip_norm)
    verdict.gradient_scale = static_cast<float>(terms.gradient_scale * terms.clip_norm / verdict.gradient_norm);
}

// The largest gradient of each rank, as it will be sent: scaled and clipped, it must not round to infinity in fp16.
ONEBIT_HOST_DEVICE void check_wire(const Ballot* ballots, int64_t count, Verdict& verdict) {
  for (int64_t rank = 0; rank < count && verdict.beyond_wire == 0; ++rank) {
    const float sent = ballots[rank].largest * std::fabs(verdict.gradient_scale);
    if (sent < fp16_overflow) continue;
    verdict.beyond_wire = sent;
    verdict.beyond_wire_rank = rank;
  }
}

ONEBIT_HOST_DEVICE Verdict judge(const Ballot* ballots, int64_t count, const Terms& terms) {
  Verdict verdict;
  verdict.skip_tiles = same(ballots, count) && all_finite(ballots, count) ? 0 : 1;
  if (verdict.skip_tiles == 0) {
    clip(ballots, count, terms, verdict);
    if (terms.fp16 != 0) check_wire(ballots, count, verdict);
    if (verdict.beyond_wire != 0) verdict.skip_tiles = 1;
  }
  verdict.skip = terms.local != 0 ? 0 : verdict.skip_tiles;
  return verdict;
}

}  // namespace onebit
