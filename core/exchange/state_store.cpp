// SPDX-License-Identifier: Apache-2.0
#include "exchange/state_store.hpp"

#include <algorithm>

namespace onebit {
namespace {

// The address that element 0 of the flat space would have, where memory is only of what comes after the exempt tensors.
void* before(std::byte* memory, int64_t bytes) {
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(memory) - static_cast<uintptr_t>(bytes));
}

}  // namespace

StateStore::StateStore(Optimizer& optimizer, const std::vector<const onebit_tensor_info*>& tensors) {
  const onebit_state state = {sizeof(onebit_state), this, declare,
                              [](void* self) { static_cast<StateStore*>(self)->whole_tensors_ = true; }, begins_later};
  StateDeclarer declarer(&state);
  try {
    optimizer.declare({tensors.data(), tensors.size()}, declarer);
  } catch (const Error& e) {
    if (refusal_.empty()) throw;
    throw Error(e.code(), std::string(e.what()) + ": " + refusal_);
  }
  if (!later_refusal_.empty()) throw Error(Code::invalid_argument, later_refusal_);
  pointers_.assign(slots_.size(), nullptr);
  totals_pointers_.assign(slots_.size(), nullptr);
}

int32_t StateStore::declare(void* self, const onebit_state_desc* desc) noexcept {
  auto& store = *static_cast<StateStore*>(self);
  try {
    return store.add(*desc);
  } catch (...) {
    return -1;
  }
}

void StateStore::begins_later(void* self, int32_t slot) noexcept {
  auto& store = *static_cast<StateStore*>(self);
  StateSlot* const found =
      slot >= 0 && static_cast<size_t>(slot) < store.slots_.size() ? &store.slots_[static_cast<size_t>(slot)] : nullptr;
  if (found != nullptr && found->extent == ONEBIT_PER_ELEMENT && found->initial == 0 && found->role == ONEBIT_ROLE_NONE)
    found->later = found->released = true;
  else
    store.later_refusal_ = "the optimizer declares that slot " + std::to_string(slot) +
                           " begins later, but that is for per-element state which it declared, of zeros, and no anchor";
}

int32_t StateStore::add(const onebit_state_desc& desc) {
  const std::string name(view(desc.name));
  const bool element = desc.extent == ONEBIT_PER_ELEMENT;
  const auto is = [&](uint8_t code, uint8_t bits) {
    return element && desc.dtype.code == code && desc.dtype.bits == bits && desc.dtype.lanes == 1;
  };
  const bool is_fp32 = is(ONEBIT_DTYPE_FLOAT, 32), is_bf16 = is(ONEBIT_DTYPE_BFLOAT, 16);
  if (name.empty())
    refusal_ = "state needs a name";
  else if (desc.scope < ONEBIT_REPLICATED || desc.scope > ONEBIT_RANK_LOCAL)
    refusal_ = "unknown scope " + std::to_string(desc.scope);
  else if (desc.reshard < ONEBIT_RESHARD_MEAN || desc.reshard > ONEBIT_RESHARD_FIRST)
    refusal_ = "unknown reshard " + std::to_string(desc.reshard);
  else if (desc.extent < ONEBIT_PER_ELEMENT || desc.extent > ONEBIT_PER_MODEL)
    refusal_ = "unknown extent " + std::to_string(desc.extent);
  else if (desc.count < 1 || desc.count > 4096 || (element && desc.count != 1))
    refusal_ = "count " + std::to_string(desc.count) + (element ? ", expected 1 per element" : ", expected 1 to 4096");
  else if (element && !is_fp32 && !is_bf16)
    refusal_ = "per-element state is float 32 or bfloat 16";
  else if (is_bf16 && desc.role == ONEBIT_ROLE_ANCHOR)
    refusal_ = "an anchor is float 32";
  else if (is_bf16 && desc.initial != 0)
    refusal_ = "state of bfloat 16 begins with zeros";
  else if (std::any_of(slots_.begin(), slots_.end(), [&](const StateSlot& slot) { return slot.name == name; }))
    refusal_ = "declared twice";
  else if (desc.role == ONEBIT_ROLE_ANCHOR && (!element || desc.scope != ONEBIT_REPLICATED))
    refusal_ = "an anchor is per element and replicated";
  else if (desc.role == ONEBIT_ROLE_ANCHOR && anchor_ >= 0)
    refusal_ = "there is an anchor already, '" + slots_[static_cast<size_t>(anchor_)].name + "'";
  else if (desc.role > ONEBIT_ROLE_ANCHOR)
    refusal_ = "unknown role " + std::to_string(desc.role);
  if (!refusal_.empty()) return -1;
  if (desc.role == ONEBIT_ROLE_ANCHOR) anchor_ = static_cast<int>(slots_.size());
  slots_.push_back({name,
                    desc.extent,
                    desc.count,
                    desc.scope,
                    desc.reshard,
                    desc.role,
                    is_bf16 ? WireType::bf16 : WireType::fp32,
                    desc.initial,
                    {},
                    0,
                    false,
                    false});
  return static_cast<int32_t>(slots_.size()) - 1;
}

int StateStore::model_number(const char* name) const {
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].name == name && slots_[i].extent == ONEBIT_PER_MODEL && slots_[i].count == 1) return static_cast<int>(i);
  return -1;
}

uint64_t StateStore::bytes_of(const StateSlot& slot, const Layout& layout) {
  const auto doubles = sizeof(double) * static_cast<uint64_t>(slot.count);
  switch (slot.extent) {
    case ONEBIT_PER_ELEMENT:
      return static_cast<uint64_t>(element_bytes(slot.type) * (slot.later ? layout.flat - layout.flat_exempt : layout.flat));
    case ONEBIT_PER_BLOCK:
      return doubles * layout.blocks.size();
    case ONEBIT_PER_TENSOR:
      return doubles * layout.elements.size();
    default:
      return doubles;
  }
}

uint64_t StateStore::bytes_kept(const StateSlot& slot, const Layout& layout) {
  if (slot.extent != ONEBIT_PER_ELEMENT || slot.later) return 0;
  return static_cast<uint64_t>(element_bytes(slot.type) * layout.flat_exempt);
}

std::vector<double> StateStore::initial_model() const {
  std::vector<double> values;
  for (const StateSlot& slot : slots_)
    if (slot.extent == ONEBIT_PER_MODEL) values.resize(values.size() + static_cast<size_t>(slot.count), slot.initial);
  return values;
}

// In one piece: on a device, one copy a step tells the host of it.
void StateStore::allocate_model(MemoryMeter& meter) {
  size_t offset = 0;
  for (const StateSlot& slot : slots_) {
    model_offsets_.push_back(offset);
    if (slot.extent == ONEBIT_PER_MODEL) offset += static_cast<size_t>(slot.count) * sizeof(double);
  }
  const std::vector<double> values = initial_model();
  model_bytes_ = values.size() * sizeof(double);
  model_ = Buffer(meter, model_bytes_);
  model_.set(values.data(), model_bytes_);
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].extent == ONEBIT_PER_MODEL) pointers_[i] = totals_pointers_[i] = model_.bytes() + model_offsets_[i];
}

void StateStore::allocate_slot(size_t index, const Layout& layout, MemoryMeter& meter) {
  StateSlot& slot = slots_[index];
  const uint64_t bytes = bytes_of(slot, layout);
  slot.memory = Buffer(meter, bytes);
  slot.kept = bytes_kept(slot, layout);
  pointers_[index] = slot.memory.bytes();
  if (slot.later && bytes > 0) pointers_[index] = before(slot.memory.bytes(), element_bytes(slot.type) * layout.flat_exempt);
  if (slot.extent != ONEBIT_PER_ELEMENT) totals_pointers_[index] = slot.memory.bytes();
  if (slot.initial == 0) return;
  if (slot.extent == ONEBIT_PER_ELEMENT)
    slot.memory.set(std::vector<float>(bytes / sizeof(float), static_cast<float>(slot.initial)).data(), bytes);
  else
    slot.memory.set(std::vector<double>(bytes / sizeof(double), slot.initial).data(), bytes);
}

void StateStore::allocate(const Layout& layout, MemoryMeter& meter) {
  allocate_model(meter);
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].extent != ONEBIT_PER_MODEL && !slots_[i].later) allocate_slot(i, layout, meter);
}

void StateStore::allocate_totals(const Layout& layout, MemoryMeter& meter) {
  allocate_model(meter);
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].extent == ONEBIT_PER_BLOCK || slots_[i].extent == ONEBIT_PER_TENSOR) allocate_slot(i, layout, meter);
}

void StateStore::acquire(int slot, const Layout& layout, MemoryMeter& meter) {
  const auto index = static_cast<size_t>(slot);
  if (slot < 0 || index >= slots_.size() || !slots_[index].later)
    throw Error(Code::invalid_argument,
                "the optimizer's plan acquires slot " + std::to_string(slot) + ", which it did not declare to begin later");
  if (!slots_[index].released) return;
  allocate_slot(index, layout, meter);
  slots_[index].released = false;
}

void StateStore::release(int slot) {
  if (slot < 0 || static_cast<size_t>(slot) >= slots_.size())
    throw Error(Code::invalid_argument, "the optimizer's plan releases slot " + std::to_string(slot) + ", but it declared " +
                                            std::to_string(slots_.size()));
  const auto index = static_cast<size_t>(slot);
  if (slots_[index].extent == ONEBIT_PER_MODEL) return;  // a few bytes, in one piece with the others
  slots_[index].released = true;
  slots_[index].memory.shrink(slots_[index].kept);
  pointers_[index] = slots_[index].memory.bytes();
  totals_pointers_[index] = nullptr;
  if (slot == anchor_) anchor_ = -1;  // no more local steps: there is nothing to change places with
}

void StateStore::begin_anew(const Layout& layout, MemoryMeter& meter) {
  const std::vector<double> values = initial_model();
  model_.set(values.data(), values.size() * sizeof(double));
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].role == ONEBIT_ROLE_ANCHOR) anchor_ = static_cast<int>(i);
    if (slots_[i].extent == ONEBIT_PER_MODEL) continue;
    slots_[i].memory = Buffer();  // first, for both at once may be too much
    slots_[i].released = slots_[i].later;
    if (slots_[i].later)
      pointers_[i] = nullptr;
    else
      allocate_slot(i, layout, meter);
  }
}

void StateStore::forget_partial_sums() {
  for (StateSlot& slot : slots_)
    if (slot.extent == ONEBIT_PER_BLOCK) slot.memory.zero();
}
void StateStore::set_partial_sums(double value) {
  for (StateSlot& slot : slots_)
    if (slot.extent == ONEBIT_PER_BLOCK) {
      const std::vector<double> values(slot.memory.size() / sizeof(double), value);
      slot.memory.set(values.data(), slot.memory.size());
    }
}

}  // namespace onebit
