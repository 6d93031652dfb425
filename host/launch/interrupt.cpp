// SPDX-License-Identifier: Apache-2.0
// The signal handlers do what handlers may: they set a flag, set a timer, write a line that is there already, and leave.
#include "launch/interrupt.hpp"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

std::atomic<int> noted{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler must not wait");

// Set before handlers are, and not changed while they are.
timer_t grace_timer;
itimerspec grace_time;
bool timed = false;
char words_when_late[160];
constexpr char kWordsAtSecond[] = "onebit: a second signal: ended at once\n";
constexpr char kWordsAtAlarm[] = "onebit: SIGALRM: ended at once\n";

timespec time_of_first;
// Seconds within which a second signal is the same wish: of the same kind, for `timeout` sends its signal to the process and to
// its group; of the other, for launchers hand on what the terminal has sent as well.
constexpr double kSameKind = 0.05, kOtherKind = 1;

[[noreturn]] void leave(int signal, const char* words) {
  if (::write(STDERR_FILENO, words, std::strlen(words)) < 0) ::_exit(128 + signal);
  ::_exit(128 + signal);
}

double since_first() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec - time_of_first.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec - time_of_first.tv_nsec);
}

void note_signal(int signal) {
  const int before = errno;
  if (const int first = noted; first != 0) {
    if (since_first() >= (signal == first ? kSameKind : kOtherKind)) leave(signal, kWordsAtSecond);
  } else {
    ::clock_gettime(CLOCK_MONOTONIC, &time_of_first);
    noted = signal;
    if (timed) ::timer_settime(grace_timer, 0, &grace_time, nullptr);
  }
  errno = before;
}

// A SIGALRM that is not the timer's is whoever's that sent it.
void note_time(int signal) {
  const int told = noted;
  if (timed && told != 0) leave(told, words_when_late);
  leave(signal, kWordsAtAlarm);
}

void make_timer(double grace) {
  timed = false;
  if (!(grace > 0)) return;
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  if (::timer_create(CLOCK_MONOTONIC, &event, &grace_timer) != 0)
    throw Error(Code::unavailable, std::string("no timer: ") + std::strerror(errno), errno);
  const double whole = std::floor(grace);
  grace_time = {{0, 0}, {static_cast<time_t>(whole), static_cast<long>(1e9 * (grace - whole))}};
  std::snprintf(words_when_late, sizeof words_when_late,
                "onebit: told to stop, but did not come to the end of a step within train.grace = %g s: ended at once\n",
                grace);
  timed = true;
}

// Of the three: none may interrupt another one's handler.
sigset_t our_signals() {
  sigset_t ours;
  ::sigemptyset(&ours);
  for (const int signal : {SIGINT, SIGTERM, SIGALRM}) ::sigaddset(&ours, signal);
  return ours;
}

}  // namespace

Interruptible::Interruptible(double grace) {
  noted = 0;
  make_timer(grace);
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_mask = our_signals();
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &interrupt_before_);
  ::sigaction(SIGTERM, &action, &terminate_before_);
  action.sa_handler = note_time;
  ::sigaction(SIGALRM, &action, &alarm_before_);
  const sigset_t ours = our_signals();  // whatever started this process may have blocked them
  ::pthread_sigmask(SIG_UNBLOCK, &ours, &mask_before_);
}

Interruptible::~Interruptible() {
  if (timed) ::timer_delete(grace_timer);
  timed = false;
  std::signal(SIGALRM, SIG_IGN);  // one that is on its way is forgotten
  ::sigaction(SIGINT, &interrupt_before_, nullptr);
  ::sigaction(SIGTERM, &terminate_before_, nullptr);
  ::sigaction(SIGALRM, &alarm_before_, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  noted = 0;
}

int Interruptible::requested() { return noted; }

}  // namespace onebit::host
