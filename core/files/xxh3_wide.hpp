// SPDX-License-Identifier: Apache-2.0
// XXH3 with 32 bytes an instruction, where the processor has them: what is hashed lies in its cache, and the 16 bytes that
// every x86-64 processor has would take half as long again as reading a file does.
#pragma once

#include <cstddef>

namespace onebit {

bool has_xxh3_wide();
// What XXH3_128bits_update does, and on the same XXH3_state_t. Only where has_xxh3_wide().
void update_xxh3_wide(void* state, const void* data, size_t bytes);

}  // namespace onebit
