// SPDX-License-Identifier: Apache-2.0
// Ctrl-C as a wish: the run ends at its next chance. Where that does not come, because arithmetic does not return or another
// rank keeps this one waiting, the process ends all the same: after some seconds of grace, or at a second signal.
#pragma once

#include <csignal>
#include <ctime>

namespace onebit::host {

// While it lives, the first SIGINT or SIGTERM is only noted. The process ends at once, with exit status 128 + the signal's
// number, at a second one, or when `grace` seconds after the first have passed and it still lives; 0: however long that takes.
// A signal of the other kind within a second of the first is the same wish: launchers hand on what a terminal has sent already.
// One at a time.
class Interruptible {
 public:
  explicit Interruptible(double grace = 0);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

  // The signal that was noted while one of these lives; 0: none.
  static int requested();

 private:
  struct sigaction interrupt_before_ = {}, terminate_before_ = {}, alarm_before_ = {};
  sigset_t mask_before_ = {};
};

}  // namespace onebit::host
