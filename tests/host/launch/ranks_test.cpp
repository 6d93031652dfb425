// SPDX-License-Identifier: Apache-2.0
// Ranks as threads: all run, and of several errors the cause is told.
#include "launch/ranks.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "onebit/error.hpp"

using onebit::Code;
using onebit::Error;
using onebit::host::run_ranks;

namespace {

void wait_a_little() { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }

}  // namespace

TEST_CASE("every rank runs once, and at the same time as the others") {
  std::atomic<int> arrived{0}, sum{0};
  run_ranks(4, [&](int rank) {
    ++arrived;
    while (arrived < 4) std::this_thread::yield();
    sum += 1 << rank;
  });
  CHECK(sum == 15);
}

TEST_CASE("the cause is told, not that others were told to stop") {
  const auto run = [](Code code) {
    run_ranks(3, [code](int rank) {
      if (rank != 1) throw Error(code, "a peer");
      wait_a_little();
      throw Error(Code::state_mismatch, "the cause");
    });
  };
  for (const Code code : {Code::aborted, Code::peer_failed, Code::timeout}) CHECK_THROWS_WITH_AS(run(code), "the cause", Error);
}

TEST_CASE("of several causes the first is told") {
  const auto run = [] {
    run_ranks(2, [](int rank) {
      if (rank == 0) wait_a_little();
      throw Error(Code::internal, rank == 0 ? "second" : "first");
    });
  };
  CHECK_THROWS_WITH_AS(run(), "first", Error);
}

TEST_CASE("when all were told to stop, that is told") {
  CHECK_THROWS_WITH_AS(run_ranks(2, [](int) { throw Error(Code::aborted, "stopped"); }), "stopped", Error);
}

TEST_CASE("what is thrown need not be an Error") {
  CHECK_THROWS_AS(run_ranks(2,
                            [](int rank) {
                              if (rank == 0) throw Error(Code::aborted, "stopped");
                              wait_a_little();
                              throw 7;
                            }),
                  int);
}
