// SPDX-License-Identifier: Apache-2.0
// The passes of LAMB over a tile, and over the totals: for the CPU compiled for every SIMD target, and for CUDA; the same bits
// on each.
#pragma once

#include "onebit/adaptive/adam.hpp"
#include "onebit/adaptive/trust_ratios.hpp"
#include "onebit/program_optimizer.hpp"

namespace onebit::kernels {

// Plain data, set by declare and plan.
struct Pass {
  AdamScalars scalars;
  AdamAges ages;
  TrustRatios ratios;
  int momentum = -1, variance = -1, coefficient = -1, updates = -1;
};

const Passes<Pass>& passes();  // for this machine

}  // namespace onebit::kernels
