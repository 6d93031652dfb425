// SPDX-License-Identifier: Apache-2.0
// The caller's floating-point mode (rounding, flush-to-zero, denormals-are-zero, traps) set aside for a scope, so that what is
// read and computed there has the same bits on every rank, whatever the embedder chose; and whatever a library left behind in
// it, as what was linked with -ffast-math does when it is loaded, is gone at the end. Threads started inside inherit the
// default.
#pragma once

#include <cfenv>

namespace onebit {

class FloatEnvironment {
 public:
  FloatEnvironment() {
    std::fegetenv(&caller_);
    set_default();
  }
  ~FloatEnvironment() { std::fesetenv(&caller_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

  // For threads of our own, which nobody gets back.
  static void set_default() { std::fesetenv(FE_DFL_ENV); }

 private:
  std::fenv_t caller_;
};

}  // namespace onebit
