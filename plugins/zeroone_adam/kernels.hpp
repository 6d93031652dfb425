// SPDX-License-Identifier: Apache-2.0
// The passes of 0/1 Adam over a tile, and over the totals: for the CPU compiled for every SIMD target, and for CUDA; the same
// bits on each.
#pragma once

#include "local_steps.hpp"
#include "onebit/adaptive/adam.hpp"
#include "onebit/adaptive/clamped_share.hpp"
#include "onebit/adaptive/freeze_rule.hpp"
#include "onebit/adaptive/refresh_rule.hpp"
#include "onebit/adaptive/variance_sums.hpp"
#include "onebit/program_optimizer.hpp"

namespace onebit::kernels {

enum class Stage { variance, early, local, sync };

// Plain data, set by declare and plan.
struct Pass {
  Stage stage = Stage::variance;
  bool freezes = false;        // this step is the last of the variance stage
  AdamScalars scalars, dense;  // dense: of tensors that are exempt, which are updated in rounds only
  AdamAges ages, dense_ages;
  int64_t variance_steps = 0;       // that a variance update of this step stands for
  float limit = 0, step_limit = 0;  // of a rank's preconditioned gradient, and of a step's direction
  double variance_floor = 0;
  int momentum = -1, variance = -1, u = -1, anchor = -1;  // after the freeze the momentum is x,
  int reciprocal = -1;                                    // and r takes the variance's place
  int frozen = -1, updates = -1, rounds = -1, frozen_steps = -1;
  bool exact = false;                            // every step so far updated the variance, so the momentum has no noise
  bool holds = false;                            // the interval between variance updates stays as it is
  int held_updates = -1;                         // how many of them came in such steps
  int variance_updates = -1, variance_age = -1;  // how many there were, and how many steps the variance stands for
  int missed_variance = -1;                      // of a tensor: steps that the variance updates stood for which it missed
  LocalSteps local_steps;
  VarianceSums sums;
  ClampedShare clamped_share;
  Refresh refresh;
  FreezeWatch freeze;
};

// For this machine; for messages of updates or of plain entries; for a variance stage in which the momentum travels, or the
// gradient; and for what the reciprocal is kept as.
const Passes<Pass>& passes(bool of_updates, bool momentum_travels, ElementType reciprocal);

}  // namespace onebit::kernels
