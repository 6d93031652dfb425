// SPDX-License-Identifier: Apache-2.0
#include "exchange/masters.hpp"

#include "dtypes/half_conversion.hpp"

namespace onebit {
namespace {

void round_values(WireType type, const float* values, int64_t count, uint16_t* halves) {
  if (type == WireType::bf16)
    narrow(values, count, halves, true);
  else
    to_half(type, values, 1.0F, count, halves);
}

}  // namespace

float* Masters::add(size_t tensor, WireType type, uint16_t* halves, int64_t elements) {
  Master& made = all_[tensor];
  made.type = type;
  made.halves = halves;
  made.elements = elements;
  made.values = Buffer(meter_, static_cast<size_t>(elements) * sizeof(float));
  bytes_ += made.values.size();
  return made.values.as<float>();
}

void Masters::take(size_t tensor, uint16_t* halves) {
  Master& master = all_[tensor];
  if (master.halves == nullptr) return;
  if (halves != nullptr) master.halves = halves;
  if (const Device* const device = meter_.device(); device != nullptr)
    device->take_halves(master.type, master.halves, master.values.as<float>(), master.elements);
  else
    take_halves(master.type, master.halves, master.elements, master.values.as<float>());
}

void Masters::take_all() {
  for (size_t t = 0; t < all_.size(); ++t) take(t);
}

void Masters::round_all(const int32_t* skip) const {
  for (const Master& master : all_) {
    if (master.halves == nullptr) continue;
    if (const Device* const device = meter_.device(); device != nullptr)
      device->round_masters(master.type, master.values.as<float>(), master.halves, master.elements, skip);
    else
      round_values(master.type, master.values.as<float>(), master.elements, master.halves);
  }
}

void Masters::round(const onebit_block& block) const {
  const Master& master = all_[static_cast<size_t>(block.tensor)];
  if (master.halves != nullptr) round_values(master.type, block.parameter, block.count, master.halves + block.first);
}

}  // namespace onebit
