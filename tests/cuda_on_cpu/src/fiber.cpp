// SPDX-License-Identifier: Apache-2.0
// Fibers: begun by ucontext, switched by the compilers' __builtin_setjmp, which makes no system call. Sanitizers are told of
// every switch. This file is built without them: what their interceptors do at a jump, such as to forget a whole stack, costs
// twenty times as much.
#include "fiber.hpp"

#include <sys/mman.h>

#include <new>

// Defined by who builds this.
#if defined(ONEBIT_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(ONEBIT_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace onebit::cuda_on_cpu {
namespace {

constexpr size_t guard_size = 4096, stack_size = 128 << 10;  // only the pages that are used are ever there
thread_local Fiber* current = nullptr;

}  // namespace

#if defined(ONEBIT_THREAD_SANITIZER)
void show_writes_to(const void* place) { __tsan_release(const_cast<void*>(place)); }
void see_writes_before(const void* place) { __tsan_acquire(const_cast<void*>(place)); }
#else
void show_writes_to(const void*) {}
void see_writes_before(const void*) {}
#endif

Fiber::Fiber() {
  void* memory =
      mmap(nullptr, guard_size + stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<char*>(memory);
  mprotect(memory_, guard_size, PROT_NONE);
}

Fiber::~Fiber() {
  forget();
  munmap(memory_, guard_size + stack_size);
}

void Fiber::start(Function function, void* argument) {
  function_ = function;
  argument_ = argument;
  if (entered_ && done_) {
    done_ = false;
    return;  // its loop goes on
  }
  forget();
  done_ = false;
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = memory_ + guard_size;
  inside_.uc_stack.ss_size = stack_size;
  inside_.uc_link = nullptr;
  makecontext(&inside_, &Fiber::enter, 0);
#if defined(ONEBIT_THREAD_SANITIZER)
  inner_thread_ = __tsan_create_fiber(0);
#endif
}

void Fiber::forget() {
  entered_ = false;
#if defined(ONEBIT_ADDRESS_SANITIZER)
  __asan_unpoison_memory_region(memory_ + guard_size, stack_size);
  inner_stack_ = nullptr;
#elif defined(ONEBIT_THREAD_SANITIZER)
  if (inner_thread_ != nullptr) __tsan_destroy_fiber(inner_thread_);
  inner_thread_ = nullptr;
#endif
}

void Fiber::enter() { current->loop(); }

// A fiber is used again without making it again.
void Fiber::loop() {
#if defined(ONEBIT_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(nullptr, &outer_bottom_, &outer_size_);
#endif
  for (;;) {
    function_(argument_);
    done_ = true;
    suspend();
  }
}

bool Fiber::resume() {
  current = this;
#if defined(ONEBIT_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(&outer_stack_, memory_ + guard_size, stack_size);
  switch_in();
  __sanitizer_finish_switch_fiber(outer_stack_, nullptr, nullptr);
#elif defined(ONEBIT_THREAD_SANITIZER)
  outer_thread_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(inner_thread_, __tsan_switch_to_fiber_no_sync);
  switch_in();
#else
  switch_in();
#endif
  current = nullptr;
  return done_;
}

void Fiber::suspend() {
  Fiber& self = *current;
#if defined(ONEBIT_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(&self.inner_stack_, self.outer_bottom_, self.outer_size_);
  self.switch_out();
  __sanitizer_finish_switch_fiber(self.inner_stack_, &self.outer_bottom_, &self.outer_size_);
#elif defined(ONEBIT_THREAD_SANITIZER)
  __tsan_switch_to_fiber(self.outer_thread_, __tsan_switch_to_fiber_no_sync);
  self.switch_out();
#else
  self.switch_out();
#endif
}

void Fiber::switch_in() {
  if (__builtin_setjmp(outside_target_) != 0) return;
  jump_in();
}
void Fiber::jump_in() {
  if (entered_) __builtin_longjmp(inside_target_, 1);
  entered_ = true;
  setcontext(&inside_);
}
void Fiber::switch_out() {
  if (__builtin_setjmp(inside_target_) == 0) jump_out();
}
void Fiber::jump_out() { __builtin_longjmp(outside_target_, 1); }

}  // namespace onebit::cuda_on_cpu
