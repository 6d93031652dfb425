// SPDX-License-Identifier: Apache-2.0
// Parameters of 16 bits and their fp32 masters, on CUDA: the bits of core/exchange/masters.cpp.
#include "by_thread.hpp"
#include "cuda_device.hpp"
#include "on_wire.hpp"

namespace onebit {
namespace {

using on_cuda::is_skipped;
using on_cuda::kThreads;

template <WireType type>
__global__ void round_elements(const float* masters, uint16_t* halves, int64_t count, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const int64_t i = number_of_thread();
  if (i < count) reinterpret_cast<typename OnWire<type>::Value*>(halves)[i] = OnWire<type>::from(masters[i]);
}

template <WireType type>
__global__ void take_elements(const uint16_t* halves, float* masters, int64_t count) {
  const int64_t i = number_of_thread();
  if (i >= count) return;
  const auto rounded = OnWire<type>::from(masters[i]);
  if (reinterpret_cast<const uint16_t&>(rounded) == halves[i]) return;
  masters[i] = OnWire<type>::to(reinterpret_cast<const typename OnWire<type>::Value*>(halves)[i]);
}

}  // namespace

void CudaDevice::round_masters(WireType type, const float* masters, uint16_t* halves, int64_t count,
                               const int32_t* skip) const {
  use();
  const auto kernel = type == WireType::fp16 ? round_elements<WireType::fp16> : round_elements<WireType::bf16>;
  cuda::launch(kernel, thread_blocks(count), kThreads, stream_, masters, halves, count, skip);
}

void CudaDevice::take_halves(WireType type, const uint16_t* halves, float* masters, int64_t count) const {
  use();
  const auto kernel = type == WireType::fp16 ? take_elements<WireType::fp16> : take_elements<WireType::bf16>;
  cuda::launch(kernel, thread_blocks(count), kThreads, stream_, halves, masters, count);
}

}  // namespace onebit
