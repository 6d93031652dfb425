// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "memory.hpp"

namespace onebit::mpi {

void copy_bytes(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

}  // namespace onebit::mpi
