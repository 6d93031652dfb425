// SPDX-License-Identifier: Apache-2.0
// Worker threads: every item once, failures told, nothing shared but what is meant to be.
#include <doctest/doctest.h>

#include <numeric>
#include <stdexcept>
#include <vector>

#include "exchange/workers.hpp"

using namespace onebit;

TEST_CASE("every item is done exactly once, whatever the number of workers") {
  for (const int count : {1, 2, 3, 8}) {
    Workers workers(count);
    for (const int64_t items : {0, 1, 2, 7, 1000}) {
      std::vector<int> done(static_cast<size_t>(items));
      for (int turn = 0; turn < 20; ++turn) workers.run(items, [&](int, int64_t item) { ++done[static_cast<size_t>(item)]; });
      CHECK(std::accumulate(done.begin(), done.end(), 0) == 20 * items);
      for (const int times : done) REQUIRE(times == 20);
    }
  }
}

TEST_CASE("an exception in a worker reaches the caller, and the workers go on") {
  Workers workers(3);
  for (int turn = 0; turn < 3; ++turn)
    CHECK_THROWS_WITH(workers.run(9,
                                  [](int, int64_t item) {
                                    if (item == 7) throw std::runtime_error("item 7");
                                  }),
                      "item 7");
  int64_t sum[3] = {0, 0, 0};
  workers.run(9, [&](int worker, int64_t item) { sum[worker] += item; });
  CHECK(sum[0] + sum[1] + sum[2] == 36);
}
