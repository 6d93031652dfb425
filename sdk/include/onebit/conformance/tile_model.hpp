// SPDX-License-Identifier: Apache-2.0
// A model as an optimizer sees it: tensors cut into blocks, in memory between canaries. Of TileHost.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "onebit/conformance/guarded.hpp"
#include "onebit/conformance/noise.hpp"
#include "onebit/optimizer.hpp"

namespace onebit::conformance {

using Tensors = std::vector<Floats>;

class TileModel {
 public:
  // flags: ONEBIT_TENSOR_ bits, one number a tensor; none: all 0.
  TileModel(const Tensors& tensors, int64_t block, std::vector<uint64_t> tensor_flags) : flags(std::move(tensor_flags)) {
    flags.resize(tensors.size());
    first_block.push_back(0);
    for (size_t t = 0; t < tensors.size(); ++t) {
      parameters.emplace_back(tensors[t]);
      gradients.emplace_back(tensors[t].size());
      cut(static_cast<int64_t>(t), static_cast<int64_t>(tensors[t].size()), block);
    }
    for (Block& b : blocks) {
      const auto tensor = static_cast<size_t>(b.tensor);
      b.parameter = parameters[tensor].data() + b.first;
      b.gradient = gradients[tensor].data() + b.first;
    }
  }
  TileModel(const TileModel&) = delete;
  TileModel& operator=(const TileModel&) = delete;

  size_t size() const { return elements.size(); }
  std::string name(int64_t tensor) const { return "t" + std::to_string(tensor); }
  bool is_dense(int64_t tensor) const { return (flags[static_cast<size_t>(tensor)] & ONEBIT_TENSOR_DENSE) != 0; }
  bool has_dense() const {
    return std::any_of(flags.begin(), flags.end(), [](uint64_t f) { return (f & ONEBIT_TENSOR_DENSE) != 0; });
  }

  void declare(Optimizer& optimizer, StateDeclarer& state) {
    std::vector<TensorInfo> infos;
    std::vector<const TensorInfo*> tensors;
    std::vector<std::string> names;
    std::vector<onebit_tensor> shapes;
    int64_t one = 1;
    for (size_t t = 0; t < size(); ++t) {
      names.push_back(name(static_cast<int64_t>(t)));
      shapes.push_back({parameters[t].data(), {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &elements[t], &one, 0});
    }
    for (size_t t = 0; t < size(); ++t)
      infos.push_back({sizeof(TensorInfo), str(names[t]), &shapes[t], static_cast<int64_t>(t), flags[t]});
    for (const TensorInfo& info : infos) tensors.push_back(&info);
    optimizer.declare({tensors.data(), tensors.size()}, state);
  }

  std::vector<Block> blocks;
  std::vector<int64_t> first_block, elements;  // of each tensor
  std::vector<uint64_t> flags;
  std::vector<Guarded<float>> parameters, gradients;
  int64_t flat = 0;  // elements of all tensors

 private:
  void cut(int64_t tensor, int64_t size, int64_t block) {
    for (int64_t first = 0; first < size; first += block) {
      const int64_t n = std::min(block, size - first);
      blocks.push_back({static_cast<int64_t>(blocks.size()), tensor, tensor, first, flat, flat, n, nullptr, nullptr,
                        flags[static_cast<size_t>(tensor)]});
      flat += n;
    }
    elements.push_back(size);
    first_block.push_back(static_cast<int64_t>(blocks.size()));
  }
};

}  // namespace onebit::conformance
