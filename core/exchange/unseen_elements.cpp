// SPDX-License-Identifier: Apache-2.0
#include "exchange/unseen_elements.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <numeric>

#include "device/device.hpp"

namespace onebit {

void UnseenElements::count(const StateStore& state, Device* device, const std::function<bool(size_t tensor)>& never_given) {
  std::fill(of_tensors_.begin(), of_tensors_.end(), 0);
  for (const StateSlot& slot : state.slots()) {
    if (slot.name != "unseen_elements" || slot.extent != ONEBIT_PER_TENSOR || slot.count != 1 || slot.released) continue;
    if (device != nullptr)
      device->read(of_tensors_.data(), slot.memory.bytes(), of_tensors_.size() * sizeof(double));
    else
      std::copy_n(slot.memory.as<double>(), of_tensors_.size(), of_tensors_.begin());
  }
  for (size_t t = 0; t < of_tensors_.size(); ++t) {
    if ((layout_.flags[t] & ONEBIT_TENSOR_DENSE) != 0)
      of_tensors_[t] = 0;
    else if (never_given(t))
      of_tensors_[t] = static_cast<double>(layout_.elements[t]);
  }
  total_ = static_cast<int64_t>(std::accumulate(of_tensors_.begin(), of_tensors_.end(), 0.0));
}

bool UnseenElements::has_whole_tensors() const {
  for (size_t t = 0; t < of_tensors_.size(); ++t)
    if (of_tensors_[t] > 0 && static_cast<int64_t>(of_tensors_[t]) == layout_.elements[t]) return true;
  return false;
}

std::string UnseenElements::text(const std::function<std::string(size_t tensor)>& name) const {
  constexpr size_t most = 5;
  std::string all;
  size_t tensors = 0;
  for (size_t t = 0; t < of_tensors_.size(); ++t) {
    if (of_tensors_[t] == 0 || ++tensors > most) continue;
    all += fmt::format("{}'{}' {:.0f} of {}", tensors == 1 ? "" : ", ", name(t), of_tensors_[t], layout_.elements[t]);
  }
  return tensors > most ? all + fmt::format(", and {} tensors more", tensors - most) : all;
}

}  // namespace onebit
