// SPDX-License-Identifier: Apache-2.0
// The sums of all_reduce on the device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "onebit/communicator.hpp"

namespace onebit::nccl {

// Elements of all ranks: `own` are those of `rank`, those of the others are in `others`, `count` after `count` in the order of
// ranks, with the place of `rank` unused.
struct Shares {
  const void* own = nullptr;
  const void* others = nullptr;
  int64_t count = 0;
  int rank = 0;
  int ranks = 1;
};

// out[i] = the elements i of rank 0, 1, ... in this order, as onebit/collectives/reduction.hpp says; out may be own.
void reduce_shares(const Shares& shares, void* out, ReduceOp op, onebit_dtype dtype, cudaStream_t stream);

}  // namespace onebit::nccl
