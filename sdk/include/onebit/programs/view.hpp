// SPDX-License-Identifier: Apache-2.0
// View: a tile, or the totals, as programs see them (program.hpp), on the CPU as on CUDA: by value, for a kernel has no other
// way to the host's arrays. And what a program finds in it, under the slots that declare answered.
#pragma once

#include <cstdint>

#include "onebit/arithmetic.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

struct View {
  static constexpr int most_slots = 64;  // that a plugin of programs may declare

  // slots: how many were declared.
  View(const Step& step, const Tile& tile, int slots) : View(step, tile.slots, slots, tile.device_blocks != nullptr) {
    message = tile.message;
    mean = tile.mean;
    previous = tile.previous;
    gradient_scale = tile.gradient_scale;
  }
  // On CUDA, what stream says: device memory.
  View(const Step& step, const Totals& totals, int slots)
      : View(step, totals.slots, slots, totals.stream != nullptr && totals.stream->device.type == ONEBIT_DEVICE_CUDA) {
    tensor_count = totals.tensor_count;
    first_block = totals.first_block;
    elements = totals.elements;
    flags = totals.flags;
  }

  int64_t number;  // of the step
  int round = 0;   // of its rounds, in produce and consume
  const Group* groups;
  int64_t group_count;
  const int64_t* missed_steps = nullptr;  // by tensor; NULL: none missed any
  // of a tile
  float* message = nullptr;
  const float *mean = nullptr, *previous = nullptr, *gradient_scale = nullptr;
  // of totals
  int64_t tensor_count = 0;
  const int64_t *first_block = nullptr, *elements = nullptr;
  const uint64_t* flags = nullptr;
  void* slots[most_slots];

 private:
  View(const Step& step, void* const* bases, int count, bool on_device)
      : number(step.number),
        groups(on_device ? step.device_groups : step.groups),
        group_count(static_cast<int64_t>(step.group_count)) {
    if (ONEBIT_HAS(&step, onebit_step, device_missed_steps))
      missed_steps = on_device ? step.device_missed_steps : step.missed_steps;
    for (int slot = 0; slot < count; ++slot) slots[slot] = bases[slot];
  }
};

// A block's group's learning rate and weight decay.
ONEBIT_HOST_DEVICE const Group& group_of(const View& view, const Block& block) { return view.groups[block.group]; }
// Exempt from compression?
ONEBIT_HOST_DEVICE bool is_dense(const Block& block) { return (block.flags & ONEBIT_TENSOR_DENSE) != 0; }
ONEBIT_HOST_DEVICE bool is_dense(const View& view, int64_t tensor) { return (view.flags[tensor] & ONEBIT_TENSOR_DENSE) != 0; }
// Without a gradient in this step, on every rank? In combine.
ONEBIT_HOST_DEVICE bool is_absent(const View& view, int64_t tensor) { return (view.flags[tensor] & ONEBIT_TENSOR_ABSENT) != 0; }
// Earlier steps that the tensor missed so.
ONEBIT_HOST_DEVICE int64_t missed_steps(const View& view, int64_t tensor) {
  return view.missed_steps == nullptr ? 0 : view.missed_steps[tensor];
}

}  // namespace onebit
