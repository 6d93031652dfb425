// SPDX-License-Identifier: Apache-2.0
// The network `lstm`: an embedding of words, one layer of LSTM (Hochreiter and Schmidhuber, 1997), and a head with a row for
// each word. Of both tables a step has gradients for the words that occur in it; the head's other rows have small ones.
#pragma once

#include <torch/torch.h>

#include <tuple>

#include "libtorch/nets.hpp"
#include "models/model_sizes.hpp"

namespace onebit::host::lstm {

struct Lstm final : Net {
  Lstm() {
    register_module("words", words);
    register_module("lstm", lstm);
    register_module("head", head);
  }
  torch::Tensor forward(const torch::Tensor& symbols) override { return head(std::get<0>(lstm(words(symbols)))).flatten(0, 1); }
  torch::nn::Embedding words{kVocabulary, kEmbedding};
  torch::nn::LSTM lstm{torch::nn::LSTMOptions(kEmbedding, kHidden).batch_first(true)};
  torch::nn::Linear head{kHidden, kVocabulary};
};

}  // namespace onebit::host::lstm
