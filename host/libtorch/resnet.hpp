// SPDX-License-Identifier: Apache-2.0
// The network `resnet`: a small residual network with batch normalisation (He et al., arXiv 1512.03385). Its norms go by the
// batch at hand, in evaluation too: they keep no running statistics, of which each rank would have its own.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>

#include "libtorch/nets.hpp"

namespace onebit::host::resnet {

inline torch::nn::Conv2d conv(int64_t from, int64_t to, int64_t kernel, int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(from, to, kernel).stride(stride).padding(kernel / 2).bias(false));
}
inline torch::nn::BatchNorm2d batch_norm(int64_t channels) {
  return torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(channels).track_running_stats(false));
}

struct Block final : torch::nn::Module {
  Block(int64_t from, int64_t to)
      : grows(from != to),
        conv1(conv(from, to, 3, grows ? 2 : 1)),
        conv2(conv(to, to, 3, 1)),
        norm1(batch_norm(to)),
        norm2(batch_norm(to)) {
    register_module("conv1", conv1);
    register_module("norm1", norm1);
    register_module("conv2", conv2);
    register_module("norm2", norm2);
    if (!grows) return;
    shortcut = register_module("shortcut", conv(from, to, 1, 2));
    norm3 = register_module("norm3", batch_norm(to));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor y = norm2(conv2(torch::relu(norm1(conv1(x)))));
    return torch::relu(y + (grows ? norm3(shortcut(x)) : x));
  }

  const bool grows;  // twice the channels, on a quarter of the pixels
  torch::nn::Conv2d conv1, conv2, shortcut{nullptr};
  torch::nn::BatchNorm2d norm1, norm2, norm3{nullptr};
};

struct Resnet final : Net {
  Resnet() {
    register_module("conv", first);
    register_module("norm", norm);
    for (int64_t i = 0; i < 3; ++i) register_module("block" + std::to_string(i + 1), blocks[i]);
    register_module("fc", fc);
  }
  torch::Tensor forward(const torch::Tensor& images) override {
    torch::Tensor x = torch::relu(norm(first(images)));
    for (const auto& block : blocks) x = block->forward(x);
    return fc(x.mean({2, 3}));
  }
  torch::nn::Conv2d first = conv(1, 16, 3, 2);
  torch::nn::BatchNorm2d norm = batch_norm(16);
  std::shared_ptr<Block> blocks[3] = {std::make_shared<Block>(16, 16), std::make_shared<Block>(16, 32),
                                      std::make_shared<Block>(32, 64)};
  torch::nn::Linear fc{64, 10};
};

}  // namespace onebit::host::resnet
