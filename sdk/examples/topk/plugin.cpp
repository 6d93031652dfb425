// SPDX-License-Identifier: Apache-2.0
// Compressor `topk`: the largest elements of each block, as they are, and zero for the others, whose values are kept back until
// they have grown (error feedback; Stich, Cordonnier, Jaggi, "Sparsified SGD with memory", arXiv 1809.07599).
//
// The same number k = round(ratio n), at least 1, of every block of n elements, so that a payload's size is known beforehand.
// Of equal magnitudes the first counts: which elements travel depends on the values alone, not on a library's way of sorting.
//
// Payload: k values (fp32), then their k indices in the block (16 bits), ascending, then 2 bytes of zeros where k is odd.
#include "onebit/plugin.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>

namespace {

using Index = uint16_t;
constexpr int64_t kMostElements = 4096;  // of a block: what encode keeps of them is on the stack

// By magnitude, then by index. Floats without their sign are ordered as their bits are, NaN above all.
uint64_t rank_of(float x, int64_t index) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<uint64_t>(bits & 0x7FFFFFFF) << 32 | static_cast<uint64_t>(kMostElements - 1 - index);
}
Index index_in(uint64_t rank) { return static_cast<Index>(kMostElements - 1 - static_cast<int64_t>(rank & 0xFFFFFFFF)); }

class TopK final : public onebit::BlockCompressor {
 public:
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        onebit::real_option("ratio", "0.01", 1e-4, 1, "the share of elements that travel, each in 48 bits"),
        onebit::integer_option("block", "4096", 32, kMostElements, "elements a block, a multiple of 32")};
    return {schema, std::size(schema)};
  }
  TopK(const onebit::Services&, const onebit::Options& options)
      : ratio_(options.real("ratio")), block_(options.integer("block")) {
    if (block_ % 32 != 0)
      throw onebit::Error(onebit::Code::invalid_argument,
                          "block is " + std::to_string(block_) + "; it must be a multiple of 32 from 32 to 4096");
  }

  onebit::Codec describe() const override { return {sizeof(onebit::Codec), block_, 0, ONEBIT_SPAN_BLOCK, 1}; }
  size_t payload_size(int64_t count) const override {
    const size_t k = kept(count);
    return k * sizeof(float) + (k + 1) / 2 * 2 * sizeof(Index);
  }

  void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, const double*,
                    std::byte* payload) const override {
    const size_t k = kept(count);
    uint64_t ranks[kMostElements];
    for (int64_t i = 0; i < count; ++i) {
      new_errors[i] = values[i] + errors[i];
      ranks[i] = rank_of(new_errors[i], i);
    }
    std::nth_element(ranks, ranks + k - 1, ranks + count, std::greater<>());
    Index indices[kMostElements];
    std::transform(ranks, ranks + k, indices, index_in);
    std::sort(indices, indices + k);
    std::memset(payload, 0, payload_size(count));
    for (size_t j = 0; j < k; ++j) {
      std::memcpy(payload + j * sizeof(float), new_errors + indices[j], sizeof(float));
      new_errors[indices[j]] = 0;
    }
    std::memcpy(payload + k * sizeof(float), indices, k * sizeof(Index));
  }

  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    const size_t k = kept(count);
    if (!add) std::fill_n(out, count, 0.0F);
    for (size_t j = 0; j < k; ++j) {
      float value;
      Index index;
      std::memcpy(&value, payload + j * sizeof value, sizeof value);
      std::memcpy(&index, payload + k * sizeof value + j * sizeof index, sizeof index);
      if (index >= count)  // it came over a network
        throw onebit::Error(onebit::Code::invalid_argument, "a payload names element " + std::to_string(index) +
                                                                " of a block that has " + std::to_string(count));
      out[index] += weight * value;
    }
  }

 private:
  size_t kept(int64_t count) const {
    return static_cast<size_t>(std::max(std::llround(ratio_ * static_cast<double>(count)), 1LL));
  }
  const double ratio_;
  const int64_t block_;
};

}  // namespace

ONEBIT_PLUGIN("topk", "1.0.0", onebit::component<TopK>("topk"))
