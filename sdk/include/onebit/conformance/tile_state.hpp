// SPDX-License-Identifier: Apache-2.0
// The state that an optimizer declares, in memory between canaries. Of TileHost.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "onebit/conformance/tile_model.hpp"
#include "onebit/conformance/unmet.hpp"

namespace onebit::conformance {

struct TileSlot {
  std::string name;
  int32_t extent, count, scope, reshard;
  double initial;
  uint32_t role;
  Guarded<float> floats;    // per element
  Guarded<double> doubles;  // all else
  bool released = false;
};

class TileState {
 public:
  TileState(Optimizer& optimizer, TileModel& model) : model_(model) {
    const onebit_state table = {sizeof table, this, &TileState::declare,
                                [](void* self) { static_cast<TileState*>(self)->whole_tensors = true; }};
    StateDeclarer declarer(&table);
    model.declare(optimizer, declarer);
    for (TileSlot& slot : slots) allocate(slot);
  }
  TileState(const TileState&) = delete;
  TileState& operator=(const TileState&) = delete;

  const TileSlot& find(const std::string& name) const {
    for (const TileSlot& slot : slots)
      if (slot.name == name) return slot;
    throw Unmet("no state '" + name + "' was declared");
  }

  // By slot, as tiles (with_elements) and totals present them; good until the next call.
  void* const* pointers(bool with_elements) {
    std::vector<void*>& list = with_elements ? of_tiles_ : of_totals_;
    list.clear();
    for (TileSlot& slot : slots) {
      const bool is_element = slot.extent == ONEBIT_PER_ELEMENT;
      void* const base = is_element ? static_cast<void*>(slot.floats.data()) : slot.doubles.data();
      const bool gone = slot.released && !poison_released && !model_.has_dense();
      list.push_back((is_element && !with_elements) || gone ? nullptr : base);
    }
    return list.data();
  }

  void clear_partial_sums() {
    for (TileSlot& slot : slots)
      if (slot.extent == ONEBIT_PER_BLOCK) std::fill(slot.doubles.begin(), slot.doubles.end(), 0.0);
  }

  // Elements of exempt tensors stay; what else is read after that, NaN gives away. Per-model state stays as it is.
  void release(size_t index) {
    TileSlot& slot = slots.at(index);
    if (slot.extent == ONEBIT_PER_MODEL) return;
    slot.released = true;
    if (slot.extent != ONEBIT_PER_ELEMENT)
      return std::fill(slot.doubles.begin(), slot.doubles.end(), std::numeric_limits<double>::quiet_NaN());
    for (const Block& block : model_.blocks)
      if (!model_.is_dense(block.tensor))
        std::fill_n(slot.floats.data() + block.flat, block.count, std::numeric_limits<float>::quiet_NaN());
  }

  std::vector<TileSlot> slots;
  bool whole_tensors = false;    // the optimizer asked for tiles that are whole tensors
  bool poison_released = false;  // released slots keep their memory, full of NaN; else their base is NULL, as in the real host

 private:
  static int32_t declare(void* self, const onebit_state_desc* desc) {
    auto& slots = static_cast<TileState*>(self)->slots;
    slots.push_back({std::string(view(desc->name)), desc->extent, desc->count, desc->scope, desc->reshard, desc->initial,
                     desc->role, Guarded<float>(), Guarded<double>(), false});
    return static_cast<int32_t>(slots.size() - 1);
  }
  void allocate(TileSlot& slot) const {
    require(slot.extent >= ONEBIT_PER_ELEMENT && slot.extent <= ONEBIT_PER_MODEL && slot.count >= 1,
            "state '" + slot.name + "' has the extent " + std::to_string(slot.extent) + " and the count " +
                std::to_string(slot.count) + ": expected an ONEBIT_PER_ extent, and at least one value");
    const size_t each[] = {0, static_cast<size_t>(model_.flat), model_.blocks.size(), model_.size(), 1};
    const size_t size = each[slot.extent] * static_cast<size_t>(slot.count);
    if (slot.extent == ONEBIT_PER_ELEMENT)
      slot.floats = Guarded<float>(Floats(size, static_cast<float>(slot.initial)));
    else
      slot.doubles = Guarded<double>(std::vector<double>(size, slot.initial));
  }

  TileModel& model_;
  std::vector<void*> of_tiles_, of_totals_;
};

}  // namespace onebit::conformance
