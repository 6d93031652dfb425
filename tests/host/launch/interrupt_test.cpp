// SPDX-License-Identifier: Apache-2.0
// Signals as wishes, and what becomes of a process that does not hear them. Each case is a process of its own.
#include "launch/interrupt.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <functional>

using onebit::host::Interruptible;

namespace {

// The exit status of a process that does this, as a shell has it. What it writes to stderr is not shown.
int status_of(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    std::signal(SIGTERM, SIG_DFL);  // doctest has a handler that reports a crash
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

[[noreturn]] void compute_for_ever() {
  for (std::atomic<int64_t> i = 0;; ++i) continue;
}

}  // namespace

TEST_CASE("the first signal is noted, and which one it was") {
  for (const int signal : {SIGINT, SIGTERM})
    CHECK(status_of([signal] {
            const Interruptible interruptible(1000);
            if (Interruptible::requested() != 0) return 1;
            std::raise(signal);
            return Interruptible::requested() == signal ? 0 : 2;
          }) == 0);
}

TEST_CASE("a process that does not hear the wish ends when its grace is over, with the signal's exit status") {
  for (const int signal : {SIGINT, SIGTERM})
    CHECK(status_of([signal]() -> int {
            const Interruptible interruptible(0.05);
            std::raise(signal);
            compute_for_ever();
          }) == 128 + signal);
}

TEST_CASE("grace is counted from the signal, and is over with the work") {
  CHECK(status_of([] {
          {
            const Interruptible interruptible(0.05);
            ::usleep(100000);
          }
          {
            const Interruptible interruptible(1);
            std::raise(SIGINT);
          }
          ::usleep(1200000);
          return 7;
        }) == 7);
}

TEST_CASE("a second signal of the same kind ends the process at once") {
  for (const int signal : {SIGINT, SIGTERM})
    CHECK(status_of([signal] {
            const Interruptible interruptible(1000);
            std::raise(signal);
            std::raise(signal);  // at the same time: the same wish
            ::usleep(100'000);
            std::raise(signal);
            return 1;
          }) == 128 + signal);
}

TEST_CASE("what a launcher hands on besides what the terminal sent is the same wish, and a second later it is another") {
  CHECK(status_of([] {
          const Interruptible interruptible(1000);
          std::raise(SIGINT);
          std::raise(SIGTERM);
          return Interruptible::requested() == SIGINT ? 0 : 1;
        }) == 0);
  CHECK(status_of([] {
          const Interruptible interruptible(1000);
          std::raise(SIGINT);
          ::usleep(1050000);
          std::raise(SIGTERM);
          return 1;
        }) == 128 + SIGTERM);
}

TEST_CASE("signals that whatever started the process has blocked are heard") {
  CHECK(status_of([]() -> int {
          sigset_t all;
          ::sigfillset(&all);
          ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
          const Interruptible interruptible(0.05);
          std::raise(SIGTERM);
          compute_for_ever();
        }) == 128 + SIGTERM);
}

TEST_CASE("afterwards signals are what they were before") {
  CHECK(status_of([] {
          { const Interruptible interruptible(1000); }
          std::raise(SIGTERM);
          return 1;
        }) == 128 + SIGTERM);
}
