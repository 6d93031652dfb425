// SPDX-License-Identifier: Apache-2.0
// The codec of what isn't compressed, on CUDA: the bits of core/dtypes/dense_codec.cpp.
#include "cuda_device.hpp"
#include "on_wire.hpp"
#include "onebit/programs/program_cuda.hpp"

namespace onebit {
namespace {

using on_cuda::is_skipped;
using on_cuda::kThreads;

// Of all threads' elements.
__device__ unsigned largest_magnitude(const float* values, int64_t count) {
  __shared__ unsigned largest;
  if (on_cuda::is_first()) largest = 0;
  __syncthreads();
  unsigned own = 0;
  on_cuda::each(count, [&](int64_t i) {
    const unsigned magnitude = __float_as_uint(values[i]) & 0x7fffffffU;
    own = magnitude > own ? magnitude : own;
  });
  atomicMax(&largest, own);
  __syncthreads();
  return largest;
}

template <WireType type>
__global__ void encode_pieces(const Piece* pieces, const float* values, char* payload, uint64_t* vanished,
                              const int32_t* skip) {
  if (is_skipped(skip)) return;
  const Piece& piece = pieces[blockIdx.x];
  const float* __restrict__ from = values + piece.first;
  auto* __restrict__ to = reinterpret_cast<typename OnWire<type>::Value*>(payload + piece.payload + dense_header(type));
  if (type == WireType::fp32) {
    on_cuda::each(piece.count, [=](int64_t i) { to[i] = OnWire<type>::from(from[i]); });
    return;
  }
  const float unit = type == WireType::fp16 ? fp16_unit(largest_magnitude(from, piece.count)) : 1.0f, factor = 1.0f / unit;
  unsigned lost = 0;
  on_cuda::each(piece.count, [&](int64_t i) {
    to[i] = OnWire<type>::from(from[i] * factor);
    lost += from[i] != 0.0f && OnWire<type>::to(to[i]) == 0.0f ? 1 : 0;
  });
  if (lost > 0 && vanished != nullptr) atomicAdd(reinterpret_cast<unsigned long long*>(vanished), 1ULL * lost);
  if (!on_cuda::is_first()) return;
  if (type == WireType::fp16) *reinterpret_cast<float*>(payload + piece.payload) = unit;
  if (piece.count % 2 != 0) to[piece.count] = OnWire<type>::from(0.0f);
}

template <WireType type, bool add>
__global__ void decode_pieces(const Piece* pieces, const char* payload, float weight, float* out, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const Piece& piece = pieces[blockIdx.x];
  const char* const begin = payload + piece.payload;
  const auto* __restrict__ from = reinterpret_cast<const typename OnWire<type>::Value*>(begin + dense_header(type));
  float* __restrict__ to = out + piece.first;
  const float factor = type == WireType::fp16 ? weight * *reinterpret_cast<const float*>(begin) : weight;
  on_cuda::each(piece.count, [=](int64_t i) {
    const float value = factor * OnWire<type>::to(from[i]);
    to[i] = add ? to[i] + value : value;
  });
}

template <WireType type>
class CudaDenseCodec final : public Compressor {
 public:
  explicit CudaDenseCodec(uint64_t* vanished) : vanished_(vanished) {}
  Codec describe() const override { return {sizeof(Codec), 65536, 0, ONEBIT_SPAN_BLOCK, 0}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>(dense_bytes(type, count)); }
  void measure(const Batch&, const float*, const float*, double*) const override {}
  void encode(const Batch& batch, const float* values, const float*, float*, const double*, void* payload) const override {
    cuda::launch(encode_pieces<type>, static_cast<int64_t>(batch.piece_count), kThreads, cuda::stream_of(batch.stream),
                 batch.device_pieces, values, static_cast<char*>(payload), vanished_, batch.skip);
  }
  void decode(const Batch& batch, const void* payload, float weight, bool add, float* out) const override {
    cuda::launch(add ? decode_pieces<type, true> : decode_pieces<type, false>, static_cast<int64_t>(batch.piece_count),
                 kThreads, cuda::stream_of(batch.stream), batch.device_pieces, static_cast<const char*>(payload), weight, out,
                 batch.skip);
  }

 private:
  uint64_t* vanished_;
};

}  // namespace

std::unique_ptr<Compressor> CudaDevice::dense_codec(WireType type, uint64_t* vanished) const {
  switch (type) {
    case WireType::fp16:
      return std::make_unique<CudaDenseCodec<WireType::fp16>>(vanished);
    case WireType::bf16:
      return std::make_unique<CudaDenseCodec<WireType::bf16>>(vanished);
    default:
      return std::make_unique<CudaDenseCodec<WireType::fp32>>(vanished);
  }
}

}  // namespace onebit
