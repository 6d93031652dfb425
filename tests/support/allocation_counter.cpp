// SPDX-License-Identifier: Apache-2.0
#include "allocation_counter.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
std::atomic<int64_t> made{0};
}  // namespace

int64_t onebit::test::allocations() { return made; }

#ifndef ONEBIT_SANITIZED
namespace {

void* take(size_t size, size_t align) noexcept {
  made.fetch_add(1, std::memory_order_relaxed);
  if (align <= alignof(std::max_align_t)) return std::malloc(size == 0 ? 1 : size);
  return std::aligned_alloc(align, (size + align - 1) / align * align);
}
void* take_or_throw(size_t size, size_t align) {
  if (void* memory = take(size, align)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t size) { return take_or_throw(size, 1); }
void* operator new[](size_t size) { return take_or_throw(size, 1); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return take(size, 1); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return take(size, 1); }
void* operator new(size_t size, std::align_val_t align) { return take_or_throw(size, static_cast<size_t>(align)); }
void* operator new[](size_t size, std::align_val_t align) { return take_or_throw(size, static_cast<size_t>(align)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
#endif
