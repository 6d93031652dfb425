// SPDX-License-Identifier: Apache-2.0
// Sessions that live longer than what they were made with, or are copied by fork(): each in a process of its own.
#include <doctest/doctest.h>

#include "support/running.hpp"

using onebit::test::Outcome;
using onebit::test::run_shell;

namespace {

// In a fork the memory of threads that are not there looks lost to a leak checker.
Outcome run(const std::string& way) {
  const std::string quiet = way.rfind("fork", 0) == 0 ? "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 " : "";
  return run_shell(quiet + "timeout 120 " ONEBIT_BINARY_DIR "/bin/session_lifetimes " + way);
}

void check_silent(const std::string& way) {
  const Outcome outcome = run(way);
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_MESSAGE(outcome.text == "done\n", outcome.text);
}

}  // namespace

TEST_CASE("a session may be static") { check_silent("static"); }
TEST_CASE("a session may live longer than its registry") { check_silent("registry"); }
TEST_CASE("a session may live longer than its rendezvous") { check_silent("rendezvous"); }
TEST_CASE("a session may be destroyed after the model, of which it then touches nothing") { check_silent("model"); }
TEST_CASE("a fork of a process with a session ends by itself, and the session goes on") { check_silent("fork"); }

TEST_CASE("in a fork a session refuses to work, and says what to do") {
  const Outcome outcome = run("fork_step");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "this session was made in process ");
  CHECK_SAYS(outcome, " is a fork of it and can't use it: make sessions after fork()");
}
