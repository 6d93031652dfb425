// SPDX-License-Identifier: Apache-2.0
// The networks of `onebit train` for images, and what all networks have in common. tensors_of() in models.cpp tells the tensors
// of each.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "models/model_sizes.hpp"

namespace onebit::host {

struct Net : torch::nn::Module {
  // Scores of the classes: a row for each answer that the batch asks for.
  virtual torch::Tensor forward(const torch::Tensor& inputs) = 0;
};

struct Cnn final : Net {
  Cnn() {
    register_module("conv1", conv1);
    register_module("conv2", conv2);
    register_module("fc1", fc1);
    register_module("fc2", fc2);
  }
  torch::Tensor forward(const torch::Tensor& images) override {
    torch::Tensor x = torch::relu(torch::max_pool2d(conv1(images), 2));  // the same as pooling after relu, on a quarter
    x = torch::relu(torch::max_pool2d(conv2(x), 2));
    x = torch::relu(fc1(x.flatten(1)));
    return fc2(x);
  }
  torch::nn::Conv2d conv1{torch::nn::Conv2dOptions(1, 16, 3)};
  torch::nn::Conv2d conv2{torch::nn::Conv2dOptions(16, 32, 3)};
  torch::nn::Linear fc1{32 * 5 * 5, 64};
  torch::nn::Linear fc2{64, 10};
};

// 24.6 million parameters, for which a network matters.
struct Mlp final : Net {
  Mlp() {
    register_module("fc1", fc1);
    register_module("fc2", fc2);
    register_module("fc3", fc3);
  }
  torch::Tensor forward(const torch::Tensor& images) override {
    return fc3(torch::relu(fc2(torch::relu(fc1(images.flatten(1))))));
  }
  torch::nn::Linear fc1{28 * 28, 4096};
  torch::nn::Linear fc2{4096, 5200};
  torch::nn::Linear fc3{5200, 10};
};

// 24.9 million parameters in 14 layers, none of which has more than a twelfth of them: gradients come bit by bit.
struct MlpDeep final : Net {
  MlpDeep() {
    int64_t from = 28 * 28;
    for (int layer = 1; layer <= mlp_deep::kLayers; ++layer) {
      const int64_t to = mlp_deep::outputs_of(layer);
      layers.emplace_back(register_module("fc" + std::to_string(layer), torch::nn::Linear(from, to)));
      from = to;
    }
  }
  torch::Tensor forward(const torch::Tensor& images) override {
    torch::Tensor x = layers.front()(images.flatten(1));
    for (size_t k = 1; k < layers.size(); ++k) x = layers[k](torch::relu(x));
    return x;
  }
  std::vector<torch::nn::Linear> layers;
};

}  // namespace onebit::host
