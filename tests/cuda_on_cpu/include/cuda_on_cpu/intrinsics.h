// SPDX-License-Identifier: Apache-2.0
// Intrinsics whose result is exact: bits, rounding to nearest, loads and stores with a cache hint.
#pragma once

#include <cmath>
#include <cstring>

namespace onebit::cuda_on_cpu {

template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace onebit::cuda_on_cpu

inline unsigned __float_as_uint(float x) { return onebit::cuda_on_cpu::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return onebit::cuda_on_cpu::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return onebit::cuda_on_cpu::bit_cast<float>(x); }
inline float __int_as_float(int x) { return onebit::cuda_on_cpu::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return onebit::cuda_on_cpu::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return onebit::cuda_on_cpu::bit_cast<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= ((x >> i) & 1U) << (31 - i);
  return reversed;
}

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline float __double2float_rn(double a) { return static_cast<float>(a); }

#define ONEBIT_CUDA_MIN_MAX(type)                           \
  inline type min(type a, type b) { return b < a ? b : a; } \
  inline type max(type a, type b) { return a < b ? b : a; }
ONEBIT_CUDA_MIN_MAX(int)
ONEBIT_CUDA_MIN_MAX(unsigned)
ONEBIT_CUDA_MIN_MAX(long)
ONEBIT_CUDA_MIN_MAX(unsigned long)
ONEBIT_CUDA_MIN_MAX(long long)
ONEBIT_CUDA_MIN_MAX(unsigned long long)
#undef ONEBIT_CUDA_MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }

#define ONEBIT_CUDA_LOAD(name) \
  template <class T>           \
  T name(const T* address) {   \
    return *address;           \
  }
#define ONEBIT_CUDA_STORE(name)    \
  template <class T>               \
  void name(T* address, T value) { \
    *address = value;              \
  }
ONEBIT_CUDA_LOAD(__ldg)
ONEBIT_CUDA_LOAD(__ldca)
ONEBIT_CUDA_LOAD(__ldcg)
ONEBIT_CUDA_LOAD(__ldcs)
ONEBIT_CUDA_LOAD(__ldlu)
ONEBIT_CUDA_LOAD(__ldcv)
ONEBIT_CUDA_STORE(__stwb)
ONEBIT_CUDA_STORE(__stcg)
ONEBIT_CUDA_STORE(__stcs)
ONEBIT_CUDA_STORE(__stwt)
#undef ONEBIT_CUDA_LOAD
#undef ONEBIT_CUDA_STORE
