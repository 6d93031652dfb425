// SPDX-License-Identifier: Apache-2.0
// Schedules of the learning rate, step by step.
#include "training/schedule.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using onebit::host::learning_rate_share;
using onebit::host::Schedule;

namespace {

using Shares = std::vector<double>;

Shares shares(const Schedule& schedule, int64_t steps) {
  Shares all;
  for (int64_t taken = 0; taken < steps; ++taken) all.push_back(learning_rate_share(schedule, taken, steps));
  return all;
}

}  // namespace

TEST_CASE("constant") {
  CHECK(shares({Schedule::Kind::constant}, 3) == Shares{1, 1, 1});
  CHECK(shares({Schedule::Kind::constant, 4}, 6) == Shares{0.25, 0.5, 0.75, 1, 1, 1});
}

TEST_CASE("linear falls from the first step to nothing after the last") {
  CHECK(shares({Schedule::Kind::linear}, 4) == Shares{1, 0.75, 0.5, 0.25});
  for (int64_t taken = 0; taken < 937; ++taken)  // the very bits of the formula without a warm-up
    CHECK(learning_rate_share({Schedule::Kind::linear}, taken, 937) == 1 - static_cast<double>(taken) / 937);
}

TEST_CASE("linear after a warm-up, to a share") {
  CHECK(shares({Schedule::Kind::linear, 2}, 6) == Shares{0.5, 1, 1, 0.75, 0.5, 0.25});
  CHECK(shares({Schedule::Kind::linear, 0, 1, 1, 0.5}, 4) == Shares{1, 0.875, 0.75, 0.625});
}

TEST_CASE("cosine is the library's, within its last bits") {
  constexpr double pi = 3.14159265358979323846;
  const Schedule schedule = {Schedule::Kind::cosine, 0, 1, 1, 0};
  double before = 2;
  for (int64_t taken = 0; taken < 1000; ++taken) {
    const double share = learning_rate_share(schedule, taken, 1000);
    CHECK(std::fabs(share - (1 + std::cos(pi * static_cast<double>(taken) / 1000)) / 2) < 1e-15);
    CHECK(share < before);
    CHECK(share > 0);
    before = share;
  }
}

TEST_CASE("cosine after a warm-up, to a share") {
  const Schedule schedule = {Schedule::Kind::cosine, 10, 1, 1, 0.1};
  CHECK(learning_rate_share(schedule, 0, 110) == 0.1);
  CHECK(learning_rate_share(schedule, 9, 110) == 1);
  CHECK(learning_rate_share(schedule, 10, 110) == 1);
  CHECK(learning_rate_share(schedule, 60, 110) == doctest::Approx(0.55));
  CHECK(learning_rate_share(schedule, 109, 110) == doctest::Approx(0.1 + 0.9 * 0.000246719).epsilon(1e-6));
}

TEST_CASE("exponential goes down by steps") {
  CHECK(shares({Schedule::Kind::exponential, 0, 2, 0.5}, 7) == Shares{1, 1, 0.5, 0.5, 0.25, 0.25, 0.125});
  CHECK(shares({Schedule::Kind::exponential, 2, 1, 0.5}, 5) == Shares{0.5, 1, 1, 0.5, 0.25});
  CHECK(shares({Schedule::Kind::exponential, 0, 1, 0}, 3) == Shares{1, 0, 0});
  const double share = learning_rate_share({Schedule::Kind::exponential, 0, 520, 0.99}, 520 * 300 + 17, 1);
  CHECK(share == doctest::Approx(std::pow(0.99, 300)).epsilon(1e-14));
}

TEST_CASE("a run that ends in its warm-up") {
  CHECK(shares({Schedule::Kind::cosine, 4}, 2) == Shares{0.25, 0.5});
  CHECK(learning_rate_share({Schedule::Kind::linear, 4}, 4, 4) == 1);
}
