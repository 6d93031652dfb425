// SPDX-License-Identifier: Apache-2.0
// One thread an element: it adds what the ranks have, in their order.
#include "reduce.hpp"

#include "onebit/collectives/reduction.hpp"
#include "onebit/cuda.hpp"

namespace onebit::nccl {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 4096;

template <class Fold, class T>
__global__ void fold_shares(Shares shares, T* out) {
  const auto step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < shares.count; i += step) {
    const auto element = [&](int rank) {
      return rank == shares.rank ? static_cast<const T*>(shares.own)[i]
                                 : static_cast<const T*>(shares.others)[rank * shares.count + i];
    };
    auto folded = Fold::begin(element(0));
    for (int rank = 1; rank < shares.ranks; ++rank) folded = Fold::fold(folded, element(rank));
    out[i] = Fold::finish(folded, shares.ranks);
  }
}

}  // namespace

void reduce_shares(const Shares& shares, void* out, ReduceOp op, onebit_dtype dtype, cudaStream_t stream) {
  const int64_t blocks = (shares.count + kThreads - 1) / kThreads;
  detail::with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    detail::with_fold<T>(op, [&](auto fold) {
      cuda::launch(fold_shares<decltype(fold), T>, blocks < kMostBlocks ? blocks : kMostBlocks, kThreads, stream, shares,
                   static_cast<T*>(out));
    });
  });
}

}  // namespace onebit::nccl
