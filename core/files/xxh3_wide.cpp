// SPDX-License-Identifier: Apache-2.0
// Compiled for AVX2 on x86-64, so nothing with inline functions that others have too may be included: the linker keeps one of
// each, and it would be this one.
#include "files/xxh3_wide.hpp"

#include <xxhash.h>

namespace onebit {

#ifdef __AVX2__
bool has_xxh3_wide() { return __builtin_cpu_supports("avx2") != 0; }
#else
bool has_xxh3_wide() { return false; }
#endif

void update_xxh3_wide(void* state, const void* data, size_t bytes) {
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state), data, bytes);
}

}  // namespace onebit
