// SPDX-License-Identifier: Apache-2.0
// The signal handler does the one thing that a handler may: it sets a flag.
#include "launch/interrupt.hpp"

#include <atomic>

namespace onebit::host {
namespace {

std::atomic<bool> requested_flag{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler must not wait");

void note_signal(int) { requested_flag = true; }

}  // namespace

Interruptible::Interruptible() {
  requested_flag = false;
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  ::sigaction(SIGINT, &action, &interrupt_before_);
  ::sigaction(SIGTERM, &action, &terminate_before_);
}

Interruptible::~Interruptible() {
  ::sigaction(SIGINT, &interrupt_before_, nullptr);
  ::sigaction(SIGTERM, &terminate_before_, nullptr);
}

bool Interruptible::requested() { return requested_flag; }

}  // namespace onebit::host
