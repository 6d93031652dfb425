// SPDX-License-Identifier: Apache-2.0
#include "exchange/workers.hpp"

#include <utility>

#include "process/float_environment.hpp"

namespace onebit {

Workers::Workers(int count) : count_(count), turn_(count), failures_(static_cast<size_t>(count)) {
  for (int worker = 1; worker < count; ++worker) threads_.emplace_back([this, worker] { serve(worker); });
}

Workers::~Workers() {
  call_ = nullptr;
  turn_.arrive_and_wait();
}

void Workers::dispatch() {
  turn_.arrive_and_wait();
  attempt(0);
  turn_.arrive_and_wait();
  for (std::exception_ptr& failure : failures_)
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
}

void Workers::serve(int worker) {
  FloatEnvironment::set_default();  // whatever mode the thread that made this one was in
  for (;;) {
    turn_.arrive_and_wait();
    if (call_ == nullptr) return;
    attempt(worker);
    turn_.arrive_and_wait();
  }
}

void Workers::attempt(int worker) noexcept {
  try {
    call_(context_, worker);
  } catch (...) {
    failures_[static_cast<size_t>(worker)] = std::current_exception();
  }
}

}  // namespace onebit
