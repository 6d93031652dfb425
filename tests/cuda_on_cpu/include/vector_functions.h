// SPDX-License-Identifier: Apache-2.0
// Stands in for CUDA's header of the same name: make_float4 and its kind.
#pragma once

#include "vector_types.h"

#define ONEBIT_CUDA_MAKE(type, name)                                          \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }            \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

ONEBIT_CUDA_MAKE(unsigned char, uchar)
ONEBIT_CUDA_MAKE(unsigned short, ushort)
ONEBIT_CUDA_MAKE(int, int)
ONEBIT_CUDA_MAKE(unsigned int, uint)
ONEBIT_CUDA_MAKE(float, float)
ONEBIT_CUDA_MAKE(double, double)
ONEBIT_CUDA_MAKE(long long, longlong)
ONEBIT_CUDA_MAKE(unsigned long long, ulonglong)
#undef ONEBIT_CUDA_MAKE
