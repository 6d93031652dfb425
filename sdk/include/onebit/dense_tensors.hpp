// Which tensors the user has exempted from compression (optimizer.dense): an optimizer asks in its loops over blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "onebit/optimizer.hpp"

namespace onebit {

class DenseTensors {
 public:
  DenseTensors() = default;
  explicit DenseTensors(Slice<const TensorInfo* const> tensors) {
    for (const TensorInfo* tensor : tensors)
      dense_.push_back(ONEBIT_HAS(tensor, onebit_tensor_info, flags) && (tensor->flags & ONEBIT_TENSOR_DENSE) != 0);
  }
  bool has(int64_t tensor) const {
    return static_cast<uint64_t>(tensor) < dense_.size() && dense_[static_cast<size_t>(tensor)] != 0;
  }

 private:
  std::vector<char> dense_;
};

}  // namespace onebit
