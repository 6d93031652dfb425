// SPDX-License-Identifier: Apache-2.0
// Launching: the templates that CUDA has too, so that the kernel's type is known and nothing is cast to void*. A kernel is a
// plain function here, called once a thread.
#pragma once

#include <functional>
#include <utility>

#include "../driver_types.h"

namespace onebit::cuda_on_cpu {

// Makes the system allocate what is static to a thread, in the library that includes this: there, __shared__ is.
static inline void touch_shared_memory() {
  static thread_local volatile char touched;
  touched = static_cast<char>(touched + 1);
}

struct Kernel {
  const void* address;           // for messages
  std::function<void()> thread;  // once for each thread of the grid
  void (*prepare)() = &touch_shared_memory;
};
// Runs a kernel later, in the stream's order.
cudaError_t submit(const char* call, const cudaLaunchConfig_t* config, Kernel kernel);

template <class... P, size_t... I>
Kernel bind(void (*kernel)(P...), void** args, std::index_sequence<I...>) {
  return [](void (*function)(P...), P... copied) -> Kernel {
    return {reinterpret_cast<const void*>(function), [=] { function(copied...); }};
  }(kernel, *static_cast<P*>(args[I])...);
}

}  // namespace onebit::cuda_on_cpu

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... args) {
  return [&](P... converted) {
    return onebit::cuda_on_cpu::submit("cudaLaunchKernelExC", config,
                                       {reinterpret_cast<const void*>(kernel), [=] { kernel(converted...); }});
  }(std::forward<A>(args)...);
}

template <class... P>
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, void (*kernel)(P...), void** args) {
  return onebit::cuda_on_cpu::submit("cudaLaunchKernelExC", config,
                                     onebit::cuda_on_cpu::bind(kernel, args, std::index_sequence_for<P...>()));
}

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void** args, size_t shared = 0,
                             cudaStream_t stream = nullptr) {
  const cudaLaunchConfig_t config = {grid, block, shared, stream, nullptr, 0};
  return onebit::cuda_on_cpu::submit("cudaLaunchKernel", &config,
                                     onebit::cuda_on_cpu::bind(kernel, args, std::index_sequence_for<P...>()));
}
