// SPDX-License-Identifier: Apache-2.0
// The state an optimizer declared: allocated, presented by slot, released and reported here. Plugins hold none of their own.
#pragma once

#include <string>
#include <vector>

#include "device/buffer.hpp"
#include "exchange/layout.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

struct StateSlot {
  std::string name;
  int32_t extent = 0, count = 0, scope = 0, reshard = 0;
  uint32_t role = ONEBIT_ROLE_NONE;
  WireType type = WireType::fp32;  // of per-element state: fp32 or bf16
  double initial = 0;
  Buffer memory;
  uint64_t kept = 0;      // bytes at its begin that stay when it is released
  bool later = false;     // it is not there before it is acquired, and never for exempt tensors
  bool released = false;  // or, of one that begins later, not acquired yet
};

class StateStore {
 public:
  // Asks the optimizer to declare for these tensors.
  StateStore(Optimizer& optimizer, const std::vector<const onebit_tensor_info*>& tensors);
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  bool whole_tensors() const { return whole_tensors_; }
  const std::vector<StateSlot>& slots() const { return slots_; }
  int anchor() const { return anchor_; }     // its slot; -1: none declared
  int model_number(const char* name) const;  // the slot of a single number of the model; -1: none is called so
  // Bytes a slot takes in a model laid out so.
  static uint64_t bytes_of(const StateSlot& slot, const Layout& layout);
  // Of these, the ones that stay when it is released: the elements of exempt tensors.
  static uint64_t bytes_kept(const StateSlot& slot, const Layout& layout);

  void allocate(const Layout& layout, MemoryMeter& meter);
  void allocate_totals(const Layout& layout, MemoryMeter& meter);  // all but per-element state: what plan and combine see
  // Does nothing where it is there.
  void acquire(int slot, const Layout& layout, MemoryMeter& meter);
  void release(int slot);
  // All state is as it was before the first step, released or not.
  void begin_anew(const Layout& layout, MemoryMeter& meter);
  void forget_partial_sums();
  void set_partial_sums(double value);  // for rehearsals
  // Per-model state, of all slots together.
  std::byte* model_memory() const { return model_.bytes(); }
  size_t model_bytes() const { return model_bytes_; }
  size_t model_offset(size_t slot) const { return model_offsets_[slot]; }
  void* const* tile_slots() const { return pointers_.data(); }
  void* const* totals_slots() const { return totals_pointers_.data(); }

 private:
  static int32_t declare(void* self, const onebit_state_desc* desc) noexcept;
  static void begins_later(void* self, int32_t slot) noexcept;
  int32_t add(const onebit_state_desc& desc);
  void allocate_model(MemoryMeter& meter);
  std::vector<double> initial_model() const;
  void allocate_slot(size_t index, const Layout& layout, MemoryMeter& meter);

  std::vector<StateSlot> slots_;
  std::vector<void*> pointers_, totals_pointers_;
  Buffer model_;
  size_t model_bytes_ = 0;
  std::vector<size_t> model_offsets_;
  std::string refusal_, later_refusal_;
  int anchor_ = -1;
  bool whole_tensors_ = false;
};

}  // namespace onebit
