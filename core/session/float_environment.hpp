// SPDX-License-Identifier: Apache-2.0
// The caller's floating-point mode (rounding, flush-to-zero, denormals-are-zero) set aside while a step runs, so that every
// rank computes the same bits whatever the embedder chose. Threads started inside inherit the default.
#pragma once

#include <cfenv>

namespace onebit {

class FloatEnvironment {
 public:
  FloatEnvironment() {
    std::fegetenv(&caller_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatEnvironment() { std::fesetenv(&caller_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  std::fenv_t caller_;
};

}  // namespace onebit
