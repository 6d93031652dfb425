// SPDX-License-Identifier: Apache-2.0
// One block of threads, each a fiber, run by the thread of a stream; its barrier and its warps.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda_on_cpu/launch.h"
#include "cuda_on_cpu/warp.h"
#include "fiber.hpp"
#include "vector_types.h"

namespace onebit::cuda_on_cpu {

const char* name_of(WarpCall call);

struct Launch {
  Kernel kernel;
  dim3 grid, block;
};

class Block {
 public:
  // Runs all blocks of a launch, one after another. "": all went well.
  static std::string run_grid(const Launch& launch);

  // For the kernel's thread that runs now.
  int barrier(const char* name, bool predicate);
  uint64_t warp_call(WarpCall call, unsigned mask, uint64_t value, int operand, int width);
  void note(const std::string& what);  // what went wrong in it
  [[noreturn]] void leave();           // for good, so nothing may need a destructor

 private:
  enum class State { fresh, running, ready, at_barrier, at_warp, returned };
  struct Thread {
    State state = State::fresh;
    const char* barrier = "";
    WarpCall call = WarpCall::none;
    unsigned mask = 0;
    uint64_t value = 0;  // given to the call, then its answer
    int source = 0;      // the lane that a shuffle reads
  };

  std::string run(const Launch& launch, uint3 index);
  void run_threads();
  bool pass();
  void go_on(int index);
  static void run_thread(void* self);
  void thread_returned(int index);
  Fiber& fiber_of(int index);
  void open_barrier();
  bool meet(int warp, unsigned mask, WarpCall call);
  bool all_there(int warp, unsigned mask, WarpCall call) const;
  void answer(int warp, unsigned mask, WarpCall call);
  void meet_others(int warp);
  void wait(State state);
  void suspend();
  std::string who_waits() const;
  std::string where(int thread) const;

  const Launch* launch_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<std::unique_ptr<Fiber>> fibers_;  // by thread
  std::minstd_rand generator_;
  int count_ = 0, alive_ = 0, waiting_ = 0, votes_ = 0, result_ = 0, current_ = 0, opened_ = 0;
  std::string trouble_;
  // Their addresses stand for barriers: of the block, which some have left for the next when others still leave it; of warps.
  char barriers_[2] = {}, warps_[32] = {};
};

}  // namespace onebit::cuda_on_cpu
