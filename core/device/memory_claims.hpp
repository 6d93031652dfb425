// SPDX-License-Identifier: Apache-2.0
// MemoryClaims: the memory that one session writes to. A process has one ledger of them, so that no two parameters, of one
// session or of two that live at the same time, are the same memory: each would be stepped twice, and their threads would race.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace onebit {

class MemoryClaims {
 public:
  MemoryClaims() = default;
  ~MemoryClaims() { release(); }
  MemoryClaims(const MemoryClaims&) = delete;
  MemoryClaims& operator=(const MemoryClaims&) = delete;

  // Throws Error(invalid_argument) that names both tensors where the memory, or a part of it, is claimed already. Memory
  // without bytes is nobody's.
  void claim(const std::string& name, const void* data, int64_t bytes);
  void release(const void* data);
  void release();

 private:
  std::vector<const void*> claimed_;
};

}  // namespace onebit
