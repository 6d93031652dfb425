// SPDX-License-Identifier: Apache-2.0
// For files of programs (program.hpp): on the CPU Highway compiles them once a SIMD target, on CUDA they are compiled once.
//
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "kernels.cpp"  // this file
//   #include "onebit/targets.hpp"
//   #include "onebit/program.hpp"
//   ONEBIT_PROGRAMS ... const Table* table() ... ONEBIT_END_PROGRAMS
//   #if ONEBIT_ONCE
//   ONEBIT_TARGETS_OF(table)                  // in namespace onebit; ONEBIT_BEST(table) is then the table for this machine
//   #endif
//
// No guard: Highway includes it once a target.
#if defined(ONEBIT_FOR_CUDA)
#undef ONEBIT_ONCE
#define ONEBIT_ONCE 1
#define ONEBIT_TARGETS_OF(function)
#define ONEBIT_BEST(function) on_cuda::function
#else
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#undef ONEBIT_ONCE
#define ONEBIT_ONCE HWY_ONCE
#undef ONEBIT_TARGETS_OF
#define ONEBIT_TARGETS_OF(function) HWY_EXPORT(function);
#undef ONEBIT_BEST
#define ONEBIT_BEST(function) HWY_DYNAMIC_DISPATCH(function)
#endif
