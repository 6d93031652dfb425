// SPDX-License-Identifier: Apache-2.0
// The codec of what isn't compressed, on CUDA: the bits of core/exchange/dense_codec.cpp.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda_device.hpp"
#include "onebit/programs/program_cuda.hpp"

namespace onebit {
namespace {

using on_cuda::is_skipped;
using on_cuda::kThreads;

template <WireType type>
struct OnWire;
template <>
struct OnWire<WireType::fp32> {
  using Value = float;
  static __device__ float from(float x) { return x; }
  static __device__ float to(float x) { return x; }
};
template <>
struct OnWire<WireType::fp16> {
  using Value = __half;
  static __device__ __half from(float x) { return __float2half_rn(x); }
  static __device__ float to(__half x) { return __half2float(x); }
};
template <>
struct OnWire<WireType::bf16> {
  using Value = __nv_bfloat16;
  static __device__ __nv_bfloat16 from(float x) { return __float2bfloat16_rn(x); }
  static __device__ float to(__nv_bfloat16 x) { return __bfloat162float(x); }
};

template <WireType type>
__global__ void encode_pieces(const Piece* pieces, const float* values, char* payload, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const Piece& piece = pieces[blockIdx.x];
  const float* __restrict__ from = values + piece.first;
  auto* __restrict__ to = reinterpret_cast<typename OnWire<type>::Value*>(payload + piece.payload);
  on_cuda::each(piece.count, [=](int64_t i) { to[i] = OnWire<type>::from(from[i]); });
  if (type != WireType::fp32 && piece.count % 2 != 0 && on_cuda::is_first()) to[piece.count] = OnWire<type>::from(0.0f);
}

template <WireType type, bool add>
__global__ void decode_pieces(const Piece* pieces, const char* payload, float weight, float* out, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const Piece& piece = pieces[blockIdx.x];
  const auto* __restrict__ from = reinterpret_cast<const typename OnWire<type>::Value*>(payload + piece.payload);
  float* __restrict__ to = out + piece.first;
  on_cuda::each(piece.count, [=](int64_t i) {
    const float value = weight * OnWire<type>::to(from[i]);
    to[i] = add ? to[i] + value : value;
  });
}

template <WireType type>
class CudaDenseCodec final : public Compressor {
 public:
  Codec describe() const override { return {sizeof(Codec), 65536, 0, ONEBIT_SPAN_BLOCK, 0}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>(dense_bytes(type, count)); }
  void measure(const Batch&, const float*, const float*, double*) const override {}
  void encode(const Batch& batch, const float* values, const float*, float*, const double*, void* payload) const override {
    cuda::launch(encode_pieces<type>, static_cast<int64_t>(batch.piece_count), kThreads, cuda::stream_of(batch.stream),
                 batch.device_pieces, values, static_cast<char*>(payload), batch.skip);
  }
  void decode(const Batch& batch, const void* payload, float weight, bool add, float* out) const override {
    cuda::launch(add ? decode_pieces<type, true> : decode_pieces<type, false>, static_cast<int64_t>(batch.piece_count),
                 kThreads, cuda::stream_of(batch.stream), batch.device_pieces, static_cast<const char*>(payload), weight, out,
                 batch.skip);
  }
};

}  // namespace

std::unique_ptr<Compressor> CudaDevice::dense_codec(WireType type) const {
  switch (type) {
    case WireType::fp16:
      return std::make_unique<CudaDenseCodec<WireType::fp16>>();
    case WireType::bf16:
      return std::make_unique<CudaDenseCodec<WireType::bf16>>();
    default:
      return std::make_unique<CudaDenseCodec<WireType::fp32>>();
  }
}

}  // namespace onebit
