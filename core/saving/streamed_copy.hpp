// SPDX-License-Identifier: Apache-2.0
// A copy that is not read soon: it goes past the processor's caches, so that memory moves its bytes twice, and not three times.
#pragma once

#include <cstddef>

namespace onebit {

void copy_streamed(std::byte* to, const std::byte* from, size_t bytes);

}  // namespace onebit
