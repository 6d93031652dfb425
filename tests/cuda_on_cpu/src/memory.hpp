// SPDX-License-Identifier: Apache-2.0
// The table of all memory that the emulated runtime has given out.
#pragma once

#include <cstddef>

#include "driver_types.h"

namespace onebit::cuda_on_cpu {

struct Place {
  cudaMemoryType type = cudaMemoryTypeUnregistered;
  int device = 0;
  bool fits = true;  // the bytes asked about end within the allocation
};
Place place_of(const void* address, size_t bytes);

}  // namespace onebit::cuda_on_cpu
