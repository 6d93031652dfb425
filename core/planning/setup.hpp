// SPDX-License-Identifier: Apache-2.0
// Setup: what a configuration makes of a model before anything runs: the plugins' objects, and where the elements lie.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device/device.hpp"
#include "exchange/layout.hpp"
#include "exchange/machines.hpp"
#include "onebit/compressor.hpp"
#include "onebit/configuration.hpp"
#include "onebit/optimizer.hpp"
#include "onebit/parameter.hpp"
#include "onebit/registry.hpp"

namespace onebit {

// The tensors as the optimizer sees them at declare; lives for that call.
class TensorInfos {
 public:
  // device: whose memory the parameters are in; NULL: the CPU's.
  TensorInfos(const std::vector<Parameter>& parameters, const std::vector<TensorRole>& roles, const Device* device);
  const std::vector<const onebit_tensor_info*>& pointers() const { return pointers_; }

 private:
  std::vector<std::vector<int64_t>> shapes_, strides_;
  std::vector<onebit_tensor> tensors_;
  std::vector<onebit_tensor_info> infos_;
  std::vector<const onebit_tensor_info*> pointers_;
};

std::unique_ptr<Optimizer> make_optimizer(const Registry& registry, const Configuration& configuration);
// NULL: none is configured.
std::unique_ptr<Compressor> make_compressor(const Registry& registry, const Configuration& configuration);
LayoutOptions layout_options(const Configuration& configuration, const Compressor* compressor, bool whole_tensors,
                             const std::vector<TensorRole>& roles, const Place& place, const Device* device);
// Most bytes of dense means that wait where steps begin ahead of their gradients.
int64_t ahead_bytes(const Configuration& configuration, const Layout& layout);
bool hierarchical(const Configuration& configuration);

}  // namespace onebit
