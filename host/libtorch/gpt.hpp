// SPDX-License-Identifier: Apache-2.0
// The network `gpt`: a decoder-only transformer with norms before its layers (Radford et al.: Language models are unsupervised
// multitask learners, 2019), and a head of its own. Attention is written out, for libtorch has it only since 2.0.
#pragma once

#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "libtorch/nets.hpp"
#include "models/model_sizes.hpp"

namespace onebit::host::gpt {

inline torch::nn::LayerNorm layer_norm() { return torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})); }

struct Block final : torch::nn::Module {
  Block() {
    register_module("norm1", norm1);
    register_module("qkv", qkv);
    register_module("projection", projection);
    register_module("norm2", norm2);
    register_module("expand", expand);
    register_module("contract", contract);
  }
  // x: batch x length x width; mask: length x length, minus infinity where a symbol would see one that comes after it.
  torch::Tensor forward(torch::Tensor x, const torch::Tensor& mask) {
    x = x + projection(attention(qkv(norm1(x)), mask));
    return x + contract(torch::gelu(expand(norm2(x))));
  }

  torch::nn::LayerNorm norm1 = layer_norm(), norm2 = layer_norm();
  torch::nn::Linear qkv{kWidth, 3 * kWidth}, projection{kWidth, kWidth};
  torch::nn::Linear expand{kWidth, kInner}, contract{kInner, kWidth};

 private:
  static torch::Tensor attention(const torch::Tensor& qkv, const torch::Tensor& mask) {
    constexpr int64_t kPart = kWidth / kHeads;
    const int64_t batch = qkv.size(0), length = qkv.size(1);
    const auto parts = qkv.view({batch, length, 3, kHeads, kPart}).permute({2, 0, 3, 1, 4}).unbind(0);
    const torch::Tensor query = parts[0] * (1 / std::sqrt(static_cast<double>(kPart)));
    const torch::Tensor weights = torch::softmax(torch::matmul(query, parts[1].transpose(2, 3)) + mask, -1);
    return torch::matmul(weights, parts[2]).transpose(1, 2).reshape({batch, length, kWidth});
  }
};

struct Gpt final : Net {
  Gpt() {
    register_module("tokens", tokens);
    register_module("positions", positions);
    for (int64_t layer = 0; layer < kLayers; ++layer)
      blocks.push_back(register_module("block" + std::to_string(layer), std::make_shared<Block>()));
    register_module("norm", norm);
    register_module("head", head);
  }
  torch::Tensor forward(const torch::Tensor& symbols) override {
    const int64_t length = symbols.size(1);
    const auto floats = torch::TensorOptions(torch::kFloat32).device(symbols.device());
    const torch::Tensor mask = torch::full({length, length}, -std::numeric_limits<float>::infinity(), floats).triu(1);
    torch::Tensor x = tokens(symbols) + positions->weight.slice(0, 0, length);
    for (const auto& block : blocks) x = block->forward(x, mask);
    return head(norm(x)).flatten(0, 1);
  }
  torch::nn::Embedding tokens{kSymbols, kWidth}, positions{kContext, kWidth};
  std::vector<std::shared_ptr<Block>> blocks;
  torch::nn::LayerNorm norm = layer_norm();
  torch::nn::Linear head{torch::nn::LinearOptions(kWidth, kSymbols).bias(false)};
};

}  // namespace onebit::host::gpt
