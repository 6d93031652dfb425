// SPDX-License-Identifier: Apache-2.0
// The primitives of a warp. All lanes that a mask names, and that have not returned, must come to the same call.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace onebit::cuda_on_cpu {

enum class WarpCall : int { none, sync, vote, shuffle, shuffle_up, shuffle_down, shuffle_xor };
constexpr unsigned all_lanes = 0xFFFFFFFFU;

// Waits for the lanes of mask. vote: bit i of the answer is set when lane i's value is not 0. shuffles: the value of the lane
// that `operand` names, as CUDA's call of that name does.
uint64_t warp_call(WarpCall call, unsigned mask, uint64_t value, int operand, int width);

template <class T>
T shuffle(WarpCall call, unsigned mask, T value, int operand, int width) {
  static_assert((sizeof(T) == 4 || sizeof(T) == 8) && std::is_arithmetic_v<T>, "CUDA shuffles numbers of 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_call(call, mask, bits, operand, width);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace onebit::cuda_on_cpu

inline void __syncwarp(unsigned mask = onebit::cuda_on_cpu::all_lanes) {
  onebit::cuda_on_cpu::warp_call(onebit::cuda_on_cpu::WarpCall::sync, mask, 0, 0, 32);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return static_cast<unsigned>(
      onebit::cuda_on_cpu::warp_call(onebit::cuda_on_cpu::WarpCall::vote, mask, predicate != 0 ? 1 : 0, 0, 32));
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0 ? 1 : 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate == 0 ? 1 : 0) == 0 ? 1 : 0; }
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return onebit::cuda_on_cpu::shuffle(onebit::cuda_on_cpu::WarpCall::shuffle, mask, value, lane, width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return onebit::cuda_on_cpu::shuffle(onebit::cuda_on_cpu::WarpCall::shuffle_up, mask, value, static_cast<int>(delta), width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return onebit::cuda_on_cpu::shuffle(onebit::cuda_on_cpu::WarpCall::shuffle_down, mask, value, static_cast<int>(delta), width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  return onebit::cuda_on_cpu::shuffle(onebit::cuda_on_cpu::WarpCall::shuffle_xor, mask, value, lanes, width);
}
