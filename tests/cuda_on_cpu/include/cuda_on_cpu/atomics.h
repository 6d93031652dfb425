// SPDX-License-Identifier: Apache-2.0
// Atomics: streams are threads of the system here, so they are the CPU's, relaxed as CUDA's are.
#pragma once

#include <cstring>
#include <type_traits>

namespace onebit::cuda_on_cpu {

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, unsigned, unsigned long long>;

// Replaces what is at address by change(it), in one go; answers what was there.
template <class T, class Change>
T atomic_update(T* address, Change change) {
  auto* bits = reinterpret_cast<BitsOf<T>*>(address);
  BitsOf<T> seen = __atomic_load_n(bits, __ATOMIC_RELAXED), wanted = 0;
  T value;
  do {
    std::memcpy(&value, &seen, sizeof value);
    const T changed = change(value);
    std::memcpy(&wanted, &changed, sizeof changed);
  } while (!__atomic_compare_exchange_n(bits, &seen, wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return value;
}

}  // namespace onebit::cuda_on_cpu

#define ONEBIT_CUDA_ATOMIC(name, type, result)                                                                     \
  inline type name(type* address, type operand) {                                                                  \
    return onebit::cuda_on_cpu::atomic_update(address, [=]([[maybe_unused]] type old) -> type { return result; }); \
  }
#define ONEBIT_CUDA_ATOMICS(type)                    \
  ONEBIT_CUDA_ATOMIC(atomicAdd, type, old + operand) \
  ONEBIT_CUDA_ATOMIC(atomicExch, type, operand)
#define ONEBIT_CUDA_INTEGER_ATOMICS(type)                                                                         \
  ONEBIT_CUDA_ATOMICS(type)                                                                                       \
  ONEBIT_CUDA_ATOMIC(atomicMin, type, operand < old ? operand : old)                                              \
  ONEBIT_CUDA_ATOMIC(atomicMax, type, operand > old ? operand : old)                                              \
  ONEBIT_CUDA_ATOMIC(atomicAnd, type, old& operand)                                                               \
  ONEBIT_CUDA_ATOMIC(atomicOr, type, old | operand)                                                               \
  ONEBIT_CUDA_ATOMIC(atomicXor, type, old ^ operand)                                                              \
  inline type atomicCAS(type* address, type compare, type operand) {                                              \
    return onebit::cuda_on_cpu::atomic_update(address, [=](type old) { return old == compare ? operand : old; }); \
  }

ONEBIT_CUDA_ATOMICS(float)
ONEBIT_CUDA_ATOMIC(atomicAdd, double, old + operand)
ONEBIT_CUDA_INTEGER_ATOMICS(int)
ONEBIT_CUDA_INTEGER_ATOMICS(unsigned)
ONEBIT_CUDA_INTEGER_ATOMICS(unsigned long long)
ONEBIT_CUDA_ATOMIC(atomicSub, int, old - operand)
ONEBIT_CUDA_ATOMIC(atomicSub, unsigned, old - operand)
#undef ONEBIT_CUDA_INTEGER_ATOMICS
#undef ONEBIT_CUDA_ATOMICS
#undef ONEBIT_CUDA_ATOMIC
