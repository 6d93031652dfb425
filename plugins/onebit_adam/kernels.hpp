// SPDX-License-Identifier: Apache-2.0
// The passes of 1-bit Adam over a tile, and over the totals: for the CPU compiled for every SIMD target, and for CUDA; the same
// bits on each.
#pragma once

#include <cstdint>

#include "onebit/adaptive/adam.hpp"
#include "onebit/adaptive/clamped_share.hpp"
#include "onebit/adaptive/freeze_rule.hpp"
#include "onebit/adaptive/refresh_rule.hpp"
#include "onebit/adaptive/variance_sums.hpp"
#include "onebit/program_optimizer.hpp"

namespace onebit::kernels {

enum class Stage { dense, freeze, compressed };

// What they all need: plain data, set by declare and plan.
struct Pass {
  Stage stage = Stage::dense;
  bool sums_variance = false;  // this step
  bool first = true;           // no compressed step came before it: what goes before is the momentum
  AdamScalars scalars;
  AdamAges ages;
  float limit = 0, step_limit = 0;  // of a rank's preconditioned gradient, and of a step's direction
  double variance_floor = 0;
  int momentum = -1, variance = -1, reciprocal = -1;  // after the freeze r takes the variance's place
  int frozen = -1, dense_updates = -1, compressed_updates = -1;
  VarianceSums sums;
  ClampedShare clamped_share;
  Refresh refresh;
  FreezeWatch freeze;
};

// For this machine, for messages of updates or of the momentum, and for what the reciprocal is kept as.
const Passes<Pass>& passes(bool of_updates, ElementType reciprocal);

}  // namespace onebit::kernels
