// SPDX-License-Identifier: Apache-2.0
// The threads of a block take turns: each goes on until it waits or returns. In which order is up to chance, as on a device.
#include "block.hpp"

#include <cstdio>
#include <cstdlib>

#include "cuda_on_cpu/kernel.h"

__thread uint3 threadIdx;
__thread uint3 blockIdx;
__thread dim3 blockDim;
__thread dim3 gridDim;

namespace onebit::cuda_on_cpu {
namespace {

thread_local Block* running = nullptr;

Block& running_block(const char* call) {
  if (running != nullptr) return *running;
  std::fprintf(stderr, "%s was called outside of a kernel\n", call);
  std::abort();
}

uint3 coordinates(uint64_t index, const dim3& size) {
  const uint64_t row = index / size.x;
  return {static_cast<unsigned>(index % size.x), static_cast<unsigned>(row % size.y), static_cast<unsigned>(row / size.y)};
}

}  // namespace

std::string Block::run_grid(const Launch& launch) {
  static thread_local Block block;
  running = &block;
  launch.kernel.prepare();
  blockDim = launch.block;
  gridDim = launch.grid;
  const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  const bool backwards = block.generator_() % 2 == 0;
  std::string trouble;
  for (uint64_t i = 0; i < blocks && trouble.empty(); ++i)
    trouble = block.run(launch, coordinates(backwards ? blocks - 1 - i : i, launch.grid));
  running = nullptr;
  return trouble;
}

std::string Block::run(const Launch& launch, uint3 index) {
  launch_ = &launch;
  blockIdx = index;
  count_ = alive_ = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  waiting_ = votes_ = opened_ = 0;
  trouble_.clear();
  threads_.assign(static_cast<size_t>(count_), {});
  show_writes_to(&launch_);
  run_threads();
  see_writes_before(&alive_);
  return trouble_;
}

void Block::run_threads() {
  while (alive_ > 0 && trouble_.empty())
    if (!pass() && trouble_.empty()) trouble_ = who_waits();
  if (!trouble_.empty()) fibers_.clear();  // some stand in the middle of the kernel
}

// Once over all threads; false: none could go on.
bool Block::pass() {
  const bool backwards = generator_() % 2 == 0;
  bool any = false;
  for (int i = 0; i < count_ && trouble_.empty(); ++i) {
    const int index = backwards ? count_ - 1 - i : i;
    const State state = threads_[static_cast<size_t>(index)].state;
    if (state != State::fresh && state != State::ready) continue;
    go_on(index);
    any = true;
  }
  return any;
}

void Block::go_on(int index) {
  Thread& thread = threads_[static_cast<size_t>(index)];
  Fiber& fiber = fiber_of(index);
  if (thread.state == State::fresh) fiber.start(&Block::run_thread, this);
  thread.state = State::running;
  current_ = index;
  threadIdx = coordinates(static_cast<uint64_t>(index), launch_->block);
  if (fiber.resume()) thread_returned(index);
}

void Block::thread_returned(int index) {
  threads_[static_cast<size_t>(index)].state = State::returned;
  --alive_;
  if (alive_ > 0 && waiting_ == alive_) open_barrier();
  meet_others(index / warpSize);
}

// What a fiber begins with.
void Block::run_thread(void* self) {
  const Block& block = *static_cast<const Block*>(self);
  see_writes_before(&block.launch_);
  block.launch_->kernel.thread();
  show_writes_to(&block.alive_);
}

Fiber& Block::fiber_of(int index) {
  while (fibers_.size() <= static_cast<size_t>(index)) fibers_.push_back(std::make_unique<Fiber>());
  return *fibers_[static_cast<size_t>(index)];
}

// Leaves the thread until somebody has set it ready; not at all when that has happened already.
void Block::wait(State state) {
  const auto index = static_cast<size_t>(current_);
  if (threads_[index].state == state) suspend();
  threads_[index].state = State::running;
}

int Block::barrier(const char* name, bool predicate) {
  Thread& self = threads_[static_cast<size_t>(current_)];
  self.state = State::at_barrier;
  self.barrier = name;
  ++waiting_;
  votes_ += predicate ? 1 : 0;
  const char* place = &barriers_[opened_ % 2];
  show_writes_to(place);
  if (waiting_ == alive_) open_barrier();
  wait(State::at_barrier);
  see_writes_before(place);
  return result_;
}

void Block::open_barrier() {
  for (Thread& thread : threads_)
    if (thread.state == State::at_barrier) thread.state = State::ready;
  result_ = votes_;
  ++opened_;
  waiting_ = votes_ = 0;
}

void Block::note(const std::string& what) { trouble_ = where(current_) + ": " + what; }
void Block::leave() {
  suspend();
  std::abort();
}
// For who runs the block: it may never come back.
void Block::suspend() {
  show_writes_to(&alive_);
  Fiber::suspend();
}

std::string Block::where(int thread) const {
  const uint3 at = coordinates(static_cast<uint64_t>(thread), launch_->block);
  const auto triple = [](const auto& v) {
    return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
  };
  return "block " + triple(blockIdx) + ", thread " + triple(at);
}

// Nobody can go on: what each that has not returned waits for, the first of each kind named.
std::string Block::who_waits() const {
  std::string text;
  int at_barrier = 0, at_warp = 0;
  for (int i = 0; i < count_; ++i) {
    const Thread& thread = threads_[static_cast<size_t>(i)];
    if (thread.state == State::at_barrier && at_barrier++ == 0) text += where(i) + " waits in " + thread.barrier + "; ";
    if (thread.state == State::at_warp && at_warp++ == 0)
      text += where(i) + " waits in " + name_of(thread.call) + " for lanes that do not come to it; ";
  }
  return text + std::to_string(at_barrier) + " threads wait in a barrier of the block, " + std::to_string(at_warp) +
         " in one of their warp, " + std::to_string(count_ - alive_) +
         " have returned. All threads that have not returned must come to the same barrier.";
}

int block_barrier(const char* name, bool predicate) { return running_block(name).barrier(name, predicate); }
uint64_t warp_call(WarpCall call, unsigned mask, uint64_t value, int operand, int width) {
  return running_block(name_of(call)).warp_call(call, mask, value, operand, width);
}
void trap(const char* what) {
  Block& block = running_block(what);
  block.note(std::string(what) + " was called");
  block.leave();
}
void fence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

}  // namespace onebit::cuda_on_cpu
