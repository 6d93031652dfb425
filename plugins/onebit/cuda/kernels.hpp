// SPDX-License-Identifier: Apache-2.0
// The codec's calls on batches in device memory: one launch each, in the order of a stream. The same bits as ../codec.hpp
// gives. pieces and runs are in device memory too; nothing is written when *skip is not 0 (NULL: there is no flag).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "../arithmetic.hpp"
#include "onebit/abi.h"

namespace onebit::codec {

struct Order {
  const int32_t* skip;
  cudaStream_t stream;
};
struct Pieces {
  const onebit_piece* first;
  size_t count;
};

// Two doubles a piece: its sum of |x| or x^2, and its elements.
void measure(const Order& order, const Pieces& pieces, Norm norm, const float* values, const float* errors, double* statistics);
// Adds the statistics of each run of blocks, in order.
void fold(const Order& order, const onebit_run* runs, size_t run_count, const double* blocks, double* spans);
void encode(const Order& order, const Pieces& pieces, Norm norm, const float* values, const float* errors, float* new_errors,
            const double* statistics, void* payload);
void decode(const Order& order, const Pieces& pieces, const void* payload, float weight, bool add, float* out);

}  // namespace onebit::codec
