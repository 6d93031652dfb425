// SPDX-License-Identifier: Apache-2.0
// The sizes of the models of text.
#pragma once

#include <cstdint>

#include "data_sets/text.hpp"
#include "data_sets/words.hpp"

namespace onebit::host::gpt {  // a decoder-only transformer on characters

inline constexpr int64_t kContext = kWindow;
inline constexpr int64_t kWidth = 256;
inline constexpr int64_t kLayers = 4;
inline constexpr int64_t kHeads = 8;
inline constexpr int64_t kInner = 4 * kWidth;  // of a block's MLP

}  // namespace onebit::host::gpt

namespace onebit::host::lstm {  // a recurrent network on words, of which most are rare

inline constexpr int64_t kEmbedding = 64, kHidden = 64;

}  // namespace onebit::host::lstm

namespace onebit::host::mlp_deep {  // a multilayer perceptron of many layers of one size

inline constexpr int kLayers = 14;  // the last has the 10 outputs
inline constexpr int64_t kWidth = 1408;
constexpr int64_t outputs_of(int layer) { return layer < kLayers ? kWidth : 10; }  // layers from 1

}  // namespace onebit::host::mlp_deep
