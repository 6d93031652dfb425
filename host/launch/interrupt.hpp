// SPDX-License-Identifier: Apache-2.0
// Ctrl-C as a wish: the run ends at its next chance; a second one ends the process as ever.
#pragma once

#include <csignal>

namespace onebit::host {

// While it lives, the first SIGINT or SIGTERM is only noted. One at a time.
class Interruptible {
 public:
  Interruptible();
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

  static bool requested();

 private:
  struct sigaction interrupt_before_ = {}, terminate_before_ = {};
};

}  // namespace onebit::host
