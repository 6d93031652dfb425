// SPDX-License-Identifier: Apache-2.0
// Warps: 32 neighbouring threads of a block, some of which meet in a call and learn each other's values.
#include "block.hpp"

#include <algorithm>

#include "cuda_on_cpu/kernel.h"

namespace onebit::cuda_on_cpu {
namespace {

bool is_shuffle(WarpCall call) { return call != WarpCall::none && call != WarpCall::sync && call != WarpCall::vote; }

// The lane that a shuffle reads; its own where that is beyond its part of the warp.
int source_lane(WarpCall call, int lane, int operand, int width) {
  const int first = lane & ~(width - 1), last = first + width - 1;
  switch (call) {
    case WarpCall::shuffle:
      return first | (operand & (width - 1));
    case WarpCall::shuffle_up:
      return lane - operand < first ? lane : lane - operand;
    case WarpCall::shuffle_down:
      return lane + operand > last ? lane : lane + operand;
    case WarpCall::shuffle_xor:
      return (lane ^ operand) > last ? lane : lane ^ operand;
    default:
      return lane;
  }
}

}  // namespace

const char* name_of(WarpCall call) {
  switch (call) {
    case WarpCall::sync:
      return "__syncwarp";
    case WarpCall::vote:
      return "__ballot_sync, __any_sync or __all_sync";
    case WarpCall::shuffle:
      return "__shfl_sync";
    case WarpCall::shuffle_up:
      return "__shfl_up_sync";
    case WarpCall::shuffle_down:
      return "__shfl_down_sync";
    case WarpCall::shuffle_xor:
      return "__shfl_xor_sync";
    case WarpCall::none:
      break;
  }
  return "";
}

uint64_t Block::warp_call(WarpCall call, unsigned mask, uint64_t value, int operand, int width) {
  const int warp = current_ / warpSize, lane = current_ % warpSize;
  if ((mask >> lane & 1U) == 0) note(std::string(name_of(call)) + ": the mask does not name the calling lane");
  if (width < 1 || width > warpSize || (width & (width - 1)) != 0)
    note(std::string(name_of(call)) + ": the width is " + std::to_string(width) + ", not a power of two up to 32");
  if (!trouble_.empty()) leave();
  Thread& self = threads_[static_cast<size_t>(current_)];
  self.state = State::at_warp;
  self.call = call;
  self.mask = mask;
  self.value = value;
  self.source = source_lane(call, lane, operand, width);
  if (call == WarpCall::sync) show_writes_to(&warps_[warp]);
  meet(warp, mask, call);
  wait(State::at_warp);
  if (call == WarpCall::sync) see_writes_before(&warps_[warp]);  // votes and shuffles order no writes
  return self.value;
}

// Lets the lanes of mask go on when all are there.
bool Block::meet(int warp, unsigned mask, WarpCall call) {
  if (!all_there(warp, mask, call)) return false;
  answer(warp, mask, call);
  return true;
}

bool Block::all_there(int warp, unsigned mask, WarpCall call) const {
  for (int lane = 0; lane < warpSize; ++lane) {
    const int index = warp * warpSize + lane;
    if ((mask >> lane & 1U) == 0 || index >= count_) continue;
    const Thread& thread = threads_[static_cast<size_t>(index)];
    if (thread.state == State::returned) continue;
    if (thread.state != State::at_warp || thread.call != call || thread.mask != mask) return false;
  }
  return true;
}

void Block::answer(int warp, unsigned mask, WarpCall call) {
  uint64_t values[warpSize] = {}, vote = 0;
  unsigned there = 0;
  for (int lane = 0; lane < warpSize; ++lane) {
    const auto index = static_cast<size_t>(warp) * warpSize + static_cast<size_t>(lane);
    if ((mask >> lane & 1U) == 0 || index >= threads_.size() || threads_[index].state != State::at_warp) continue;
    there |= 1U << lane;
    values[lane] = threads_[index].value;
    if (values[lane] != 0) vote |= uint64_t{1} << lane;
  }
  for (int lane = 0; lane < warpSize; ++lane) {
    if ((there >> lane & 1U) == 0) continue;
    Thread& thread = threads_[static_cast<size_t>(warp) * warpSize + static_cast<size_t>(lane)];
    if (is_shuffle(call) && (there >> thread.source & 1U) == 0 && trouble_.empty())
      trouble_ = where(warp * warpSize + lane) + ": " + name_of(call) + " reads lane " + std::to_string(thread.source) +
                 ", which is not in the mask or has returned";
    thread.value = is_shuffle(call) ? values[thread.source] : vote;
    thread.state = State::ready;
  }
}

// After a thread has returned: those who waited for it need not any more.
void Block::meet_others(int warp) {
  const int last = std::min((warp + 1) * warpSize, count_);
  for (int index = warp * warpSize; index < last; ++index) {
    const Thread& thread = threads_[static_cast<size_t>(index)];
    if (thread.state == State::at_warp) meet(warp, thread.mask, thread.call);
  }
}

}  // namespace onebit::cuda_on_cpu
