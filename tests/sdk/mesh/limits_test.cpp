// SPDX-License-Identifier: Apache-2.0
// The account of who was heard of when, on a clock of the test's own, and the words of the two limits.
#include <doctest/doctest.h>

#include "onebit/collectives/limits.hpp"

namespace {

using namespace onebit;
using namespace std::chrono_literals;

constexpr int64_t kTimeout = 80'000'000'000;  // so a heartbeat is due every 2 s
const SignsOfLife::Time start{};

// Looks every second from `from` to `to`, in which nothing comes.
void look_on(SignsOfLife& signs, std::chrono::seconds from, std::chrono::seconds to) {
  for (auto at = from; at <= to; at += 1s) signs.look(start + at);
}

}  // namespace

TEST_CASE("signs of life: a peer is silent when nothing came from it for the whole timeout, and no other is") {
  SignsOfLife signs(2, kTimeout, start);
  look_on(signs, 0s, 60s);
  signs.hear(1, start + 60s);
  look_on(signs, 60s, 79s);
  CHECK(!signs.silent(0));
  look_on(signs, 80s, 80s);
  CHECK(signs.silent(0));
  CHECK(!signs.silent(1));
  look_on(signs, 81s, 139s);
  CHECK(!signs.silent(1));
  look_on(signs, 140s, 140s);
  CHECK(signs.silent(1));
  signs.hear(0, start + 140s);
  CHECK(!signs.silent(0));
}

TEST_CASE("signs of life: time in which the owner did not look counts against nobody") {
  SignsOfLife signs(1, kTimeout, start);
  look_on(signs, 0s, 50s);
  signs.look(start + 1000s);  // it was stopped for 950 s
  CHECK(!signs.silent(0));
  look_on(signs, 1001s, 1029s);
  CHECK(!signs.silent(0));
  look_on(signs, 1030s, 1030s);
  CHECK(signs.silent(0));
}

TEST_CASE("signs of life: heartbeats are due eight times in a timeout, every 2 s at least, and without a timeout never") {
  SignsOfLife often(1, 800'000'000, start), seldom(1, 300'000'000'000, start), never(1, 0, start);
  CHECK(often.interval() == 100ms);
  CHECK(seldom.interval() == 2s);
  CHECK(!often.due(start + 99ms));
  CHECK(often.due(start + 100ms));
  CHECK(!often.due(start + 150ms));
  CHECK(often.next(start + 150ms) == start + 200ms);
  CHECK(!never.due(start + 1000h));
  never.look(start + 1000h);
  CHECK(!never.silent(0));
}

TEST_CASE("limits: in nanoseconds, and in words that name the option to raise") {
  CHECK(Limits::nanoseconds(0) == 0);
  CHECK(Limits::nanoseconds(1e-12) == 1);
  CHECK(Limits::nanoseconds(0.25) == 250'000'000);
  CHECK(Limits::nanoseconds(1e300) == 1'000'000'000'000'000'000);
  CHECK(seconds_text(1'800'000'000'000) == "1800 s");
  CHECK(silence_text("rank 1", kTimeout) ==
        "waited for rank 1, of which nothing was heard for 80 s, not even a heartbeat: dead, stopped or cut off (if it may be "
        "silent for longer, raise communicator.timeout)");
  CHECK(stall_text("ranks 1, 2", kTimeout, false) ==
        "waited 80 s for ranks 1, 2, which did not come, though alive (if it may take longer, raise communicator.stall; 0: no "
        "limit)");
  CHECK(stall_text("rank 1", kTimeout, true).find("rank 1, which moved no bytes, though alive") != std::string::npos);
}
