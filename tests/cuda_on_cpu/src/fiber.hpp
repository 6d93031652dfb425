// SPDX-License-Identifier: Apache-2.0
// A fiber: a function with a stack of its own, that a thread of the system goes on with and leaves again.
#pragma once

#include <ucontext.h>

#include <cstddef>

namespace onebit::cuda_on_cpu {

// For ThreadSanitizer, to which fibers are threads that nothing orders but this: who calls see_writes_before(place) sees all
// that others did before they called show_writes_to(place). So it finds races among the threads of a block.
void show_writes_to(const void* place);
void see_writes_before(const void* place);

class Fiber {
 public:
  using Function = void (*)(void*);
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void start(Function function, void* argument);  // resume() then runs it. One that is suspended is forgotten as it is.
  bool resume();                                  // goes on with it; true: it has returned
  static void suspend();                          // called in a fiber: leaves it

 private:
  static void enter();
  [[noreturn]] void loop();
  void forget();
  void switch_in();
  void switch_out();
  [[gnu::noinline]] void jump_in();  // a jump and its target must not stand in one function
  [[gnu::noinline]] void jump_out();

  char* memory_;
  bool entered_ = false, done_ = true;
  Function function_ = nullptr;
  void* argument_ = nullptr;
  ucontext_t inside_{};
  void* inside_target_[5]{};
  void* outside_target_[5]{};
  // Which of these are used depends on the sanitizer.
  [[maybe_unused]] void* inner_stack_ = nullptr;
  [[maybe_unused]] void* outer_stack_ = nullptr;
  [[maybe_unused]] const void* outer_bottom_ = nullptr;
  [[maybe_unused]] size_t outer_size_ = 0;
  [[maybe_unused]] void* inner_thread_ = nullptr;
  [[maybe_unused]] void* outer_thread_ = nullptr;
};

}  // namespace onebit::cuda_on_cpu
