// SPDX-License-Identifier: Apache-2.0
// Stands in for CUDA's header of the same name: the built-in vectors, as aligned as CUDA has them.
#pragma once

#define ONEBIT_CUDA_VECTORS(type, name, pair, four) \
  struct name##1 {                                  \
    type x;                                         \
  };                                                \
  struct alignas(pair) name##2 {                    \
    type x, y;                                      \
  };                                                \
  struct name##3 {                                  \
    type x, y, z;                                   \
  };                                                \
  struct alignas(four) name##4 {                    \
    type x, y, z, w;                                \
  }

ONEBIT_CUDA_VECTORS(signed char, char, 2, 4);
ONEBIT_CUDA_VECTORS(unsigned char, uchar, 2, 4);
ONEBIT_CUDA_VECTORS(short, short, 4, 8);
ONEBIT_CUDA_VECTORS(unsigned short, ushort, 4, 8);
ONEBIT_CUDA_VECTORS(int, int, 8, 16);
ONEBIT_CUDA_VECTORS(unsigned int, uint, 8, 16);
ONEBIT_CUDA_VECTORS(float, float, 8, 16);
ONEBIT_CUDA_VECTORS(double, double, 16, 16);
ONEBIT_CUDA_VECTORS(long long, longlong, 16, 16);
ONEBIT_CUDA_VECTORS(unsigned long long, ulonglong, 16, 16);
#undef ONEBIT_CUDA_VECTORS

struct dim3 {
  constexpr dim3(unsigned int width = 1, unsigned int height = 1, unsigned int depth = 1) : x(width), y(height), z(depth) {}
  unsigned int x, y, z;
};
