// SPDX-License-Identifier: Apache-2.0
// Counts what the whole program allocates, plugins included: for what must not allocate. A test that uses it is built with
// allocation_counter.cpp, which replaces operator new.
#pragma once

#include <cstdint>

namespace onebit::test {

// A sanitizer's operator new has to stay: then nothing is counted, and what needs the count is skipped.
#ifdef ONEBIT_SANITIZED
inline constexpr bool allocations_are_counted = false;
#else
inline constexpr bool allocations_are_counted = true;
#endif

// Allocations so far, by all threads.
int64_t allocations();

}  // namespace onebit::test
