// SPDX-License-Identifier: Apache-2.0
// Copies of small payload. In the plugin `mpi` all memory is the host's; in `mpi_cuda` it may be a device's.
#pragma once

#include <cstddef>

namespace onebit::mpi {

void copy_bytes(void* to, const void* from, size_t bytes);

}  // namespace onebit::mpi
