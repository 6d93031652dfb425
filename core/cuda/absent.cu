// SPDX-License-Identifier: Apache-2.0
// Tensors that no rank has a gradient of: which they are is known on the device alone while a step is under way. And errors,
// which are theirs to keep.
#include "by_thread.hpp"
#include "cuda_device.hpp"
#include "onebit/programs/program_cuda.hpp"

namespace onebit {
namespace {

using on_cuda::is_skipped;
using on_cuda::kThreads;

constexpr uint64_t absent_flag = ONEBIT_TENSOR_ABSENT;

__device__ bool is_absent(const MarkedPieces& marked, const onebit_piece& piece) {
  return (marked.blocks[block_of(piece)].flags & absent_flag) != 0;
}

__global__ void mark_tensors(Ballots ballots, int64_t tensors, uint64_t* flags) {
  const int64_t t = number_of_thread();
  if (t >= tensors) return;
  const bool present = (ballots.present(t / 64) >> (t % 64) & 1U) != 0;
  flags[t] = present ? flags[t] & ~absent_flag : flags[t] | absent_flag;
}

__global__ void mark_blocks(const uint64_t* flags, onebit_block* blocks, int64_t count, onebit_block* present) {
  const int64_t b = number_of_thread();
  if (b >= count) return;
  onebit_block block = blocks[b];
  block.flags = flags[block.tensor];
  blocks[b] = block;
  if ((block.flags & absent_flag) != 0) block.count = 0;
  present[b] = block;
}

template <class Kept>
__global__ void take_pieces(MarkedPieces marked, const float* from, Kept* to, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const onebit_piece& piece = marked.pieces[marked.first + blockIdx.x];
  if (marked.blocks != nullptr && is_absent(marked, piece)) return;
  const float* __restrict__ in = from + piece.first;
  Kept* __restrict__ out = to + piece.first;
  on_cuda::each(piece.count, [=](int64_t i) { kept(in[i], out[i]); });
}

template <class Kept>
__global__ void put_back_pieces(MarkedPieces marked, const Kept* before, Kept* errors, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const onebit_piece& piece = marked.pieces[marked.first + blockIdx.x];
  if (!is_absent(marked, piece)) return;
  const Kept* __restrict__ in = before + piece.first;
  Kept* __restrict__ out = errors + piece.first;
  on_cuda::each(piece.count, [=](int64_t i) { out[i] = in[i]; });
}

__global__ void widen_elements(const Bf16* from, float* to, int64_t count, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const int64_t i = number_of_thread();
  if (i < count) to[i] = as_float(from[i]);
}

// Payloads follow each other, and are of whole words of 4 bytes.
__global__ void keep_pieces(MarkedPieces marked, int64_t total, int64_t bytes, const std::byte* from, std::byte* to,
                            const int32_t* skip) {
  if (is_skipped(skip)) return;
  const int64_t p = marked.first + blockIdx.x;
  const onebit_piece& piece = marked.pieces[p];
  if (!is_absent(marked, piece)) return;
  const int64_t end = p + 1 < total ? marked.pieces[p + 1].payload : bytes;
  const auto* in = reinterpret_cast<const uint32_t*>(from + piece.payload);
  auto* out = reinterpret_cast<uint32_t*>(to + piece.payload);
  on_cuda::each((end - piece.payload) / 4, [=](int64_t i) { out[i] = in[i]; });
}

__global__ void clear_pieces(MarkedPieces marked, int64_t width, double* statistics, const int32_t* skip) {
  if (is_skipped(skip)) return;
  const int64_t k = number_of_thread();
  if (k >= marked.count) return;
  const onebit_piece& piece = marked.pieces[marked.first + k];
  if (!is_absent(marked, piece)) return;
  for (int64_t i = 0; i < width; ++i) statistics[piece.statistic * width + i] = 0;
}

}  // namespace

void CudaDevice::mark_absent(const Ballots& ballots, int64_t tensors, uint64_t* flags, onebit_block* blocks, int64_t count,
                             onebit_block* present) const {
  cuda::launch(mark_tensors, thread_blocks(tensors), kThreads, stream_, ballots, tensors, flags);
  cuda::launch(mark_blocks, thread_blocks(count), kThreads, stream_, flags, blocks, count, present);
}

void CudaDevice::widen(const Bf16* from, float* to, int64_t count, const int32_t* skip) const {
  cuda::launch(widen_elements, thread_blocks(count), kThreads, stream_, from, to, count, skip);
}

void CudaDevice::take_errors(WireType type, const MarkedPieces& pieces, const float* from, void* to,
                             const int32_t* skip) const {
  if (type == WireType::fp32)
    cuda::launch(take_pieces<float>, pieces.count, kThreads, stream_, pieces, from, static_cast<float*>(to), skip);
  else
    cuda::launch(take_pieces<Bf16>, pieces.count, kThreads, stream_, pieces, from, static_cast<Bf16*>(to), skip);
}

void CudaDevice::put_back_errors(WireType type, const MarkedPieces& pieces, const void* before, void* errors,
                                 const int32_t* skip) const {
  if (type == WireType::fp32)
    cuda::launch(put_back_pieces<float>, pieces.count, kThreads, stream_, pieces, static_cast<const float*>(before),
                 static_cast<float*>(errors), skip);
  else
    cuda::launch(put_back_pieces<Bf16>, pieces.count, kThreads, stream_, pieces, static_cast<const Bf16*>(before),
                 static_cast<Bf16*>(errors), skip);
}

void CudaDevice::keep_payload(const MarkedPieces& pieces, int64_t total, int64_t bytes, const std::byte* from, std::byte* to,
                              const int32_t* skip) const {
  cuda::launch(keep_pieces, pieces.count, kThreads, stream_, pieces, total, bytes, from, to, skip);
}

void CudaDevice::clear_statistics(const MarkedPieces& pieces, int64_t width, double* statistics, const int32_t* skip) const {
  cuda::launch(clear_pieces, thread_blocks(pieces.count), kThreads, stream_, pieces, width, statistics, skip);
}

}  // namespace onebit
