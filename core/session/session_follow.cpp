// SPDX-License-Identifier: Apache-2.0
// What a step does where parameters are in other memory than before: torch::load, set_data and conversions there and back give
// a module's tensors new memory, and the session goes on there.
#include <algorithm>

#include "session/session_impl.hpp"

namespace onebit {

const std::vector<size_t>& Session::Impl::compare(const ModelGradients& gradients) {
  const Lap lap(timings.checks);
  bare.assign(gradients.begin(), gradients.end());
  return replicas.moved(gradients);
}

const std::vector<const float*>& Session::Impl::follow(const ModelGradients& gradients, void* stream) {
  try {
    settle();
  } catch (const Error& e) {
    throw in_step(e);
  }
  const std::vector<size_t>& found = compare(gradients);
  if (found.empty()) return bare;
  if (apart)
    throw Error(Code::invalid_argument,
                "parameter '" + replicas.parameters()[found.front()].name +
                    "' has other memory since a local step, while ranks have parameters of their own: have the ranks meet "
                    "first (request_sync(), then a step), and load or convert the module after it");
  if (device) device->follow(stream);
  replicas.follow(gradients);
  moved = true;
  for (const size_t tensor : found) follow_tensor(tensor);
  if (device) device->settle();  // so that what was copied there may change again
  return bare;
}

void Session::Impl::follow_tensor(size_t tensor) {
  const int64_t first = layout.first_block[tensor], last = layout.first_block[tensor + 1];
  float* const parameter = replicas.parameters()[tensor].data;
  // Where ranks last met, as an optimizer with local steps keeps it: they meet there now.
  auto* const anchor = state.anchor() < 0 ? nullptr : static_cast<float*>(state.tile_slots()[state.anchor()]);
  for (int64_t b = first; b < last; ++b) {
    onebit_block& block = layout.blocks[static_cast<size_t>(b)];
    block.parameter = parameter + block.first;
    const size_t bytes = static_cast<size_t>(block.count) * sizeof(float);
    if (anchor != nullptr && device) device->copy(anchor + block.flat, block.parameter, bytes);
    if (anchor != nullptr && !device) std::copy_n(block.parameter, block.count, anchor + block.flat);
  }
  if (on_device) on_device->update_blocks(static_cast<size_t>(first), static_cast<size_t>(last));
}

// After an agreement. What a module was given elsewhere may be another file's values, or one rank's alone: replicas would drift
// in silence.
void Session::Impl::compare_moved() {
  moved = false;
  bool any = false;
  for (int64_t rank = 0; rank < ballots.count; ++rank) any = any || (ballots[rank].flags & ballot_moved) != 0;
  if (!any) return;
  replicas.verify(report.number,
                  ": before that step parameters were given other memory (torch::load, to, set_data), which must hold the same "
                  "values on every rank: load the same file on all of them");
}

}  // namespace onebit
