// SPDX-License-Identifier: Apache-2.0
// What a run's place in a checkpoint keeps: every bit of it, on as many ranks as before, and its sums on others.
#include "training/run_place.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>

#include "onebit/error.hpp"

using onebit::Traffic;
using namespace onebit::host;  // NOLINT(google-build-using-namespace): the room under test

namespace {

RunPlace some_place() {
  RunPlace place;
  place.epoch = 3;
  place.samples = 64;
  place.taken = 77;
  place.evaluated = 70;
  place.stage = kCompressed;
  place.seconds = 0.1 + 0.2;
  place.window_began = 1.0 / 3;
  place.window_tried = 2;
  place.shown_loss = 1e-300;
  place.speed = 12345.678;
  place.test = TestResult{0.7, 0.1};
  place.train_loss = 2.0 / 3;
  place.timings.dense = {10, 0.1, {0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, 2.7};
  place.timings.local.steps = 5;
  place.traffic.dense_bytes = uint64_t{1} << 63;
  place.traffic.skipped_steps = 4;
  place.metrics.add("a line\n");
  place.settings = "epochs = 4\ndata = \"fashion_mnist\"\n";
  return place;
}

bool same_bits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

}  // namespace

TEST_CASE("a place as text is the same place, to the bit") {
  const RunPlace place = some_place(), again = run_place_of(text_of(place));
  CHECK(text_of(again) == text_of(place));
  CHECK(again.epoch == 3);
  CHECK(again.samples == 64);
  CHECK(again.taken == 77);
  CHECK(again.evaluated == 70);
  CHECK(again.stage == "compressed");
  CHECK(same_bits(again.seconds, place.seconds));
  CHECK(same_bits(again.shown_loss, place.shown_loss));
  CHECK(same_bits(*again.train_loss, *place.train_loss));
  CHECK(same_bits(*again.test->accuracy, *place.test->accuracy));
  CHECK(same_bits(again.timings.dense.session.checks, 0.6));
  CHECK(again.timings.local.steps == 5);
  CHECK(again.traffic.dense_bytes == uint64_t{1} << 63);
  CHECK(again.traffic.skipped_steps == 4);
  CHECK(again.metrics.bytes == 7);
  CHECK(again.metrics.hash == place.metrics.hash);
  CHECK(again.settings == place.settings);
  const RunPlace first = run_place_of(text_of(RunPlace()));
  CHECK(!first.test);
  CHECK(!first.train_loss);
}

TEST_CASE("losses that are no numbers stay what they are") {
  for (const double loss : {std::nan(""), HUGE_VAL, -HUGE_VAL, 0.1}) {
    const RankPlace again = rank_place_of(text_of(RankPlace{{loss, 3}, {1, 2}, 4, true}));
    CHECK((same_bits(again.window.sum, loss) || (std::isnan(loss) && std::isnan(again.window.sum))));
    CHECK(again.window.steps == 3);
    CHECK(again.epoch.steps == 2);
    CHECK(again.skipped == 4);
    CHECK(again.last_skipped);
  }
}

TEST_CASE("what is no place is refused") {
  for (const char* text : {"", "{}", "[1]", "not JSON", R"({"epoch":"three"})"}) {
    CHECK_THROWS_WITH_AS(run_place_of(text), doctest::Contains("is not as `onebit train` writes it"), onebit::Error);
    CHECK_THROWS_AS(rank_place_of(text), onebit::Error);
  }
  std::string negative = text_of(some_place());
  negative.replace(negative.find("\"taken\":77"), 10, "\"taken\":-7");
  CHECK_THROWS_AS(run_place_of(negative), onebit::Error);
}

TEST_CASE("on another number of ranks, sums over ranks stay what they were") {
  const std::vector<RankPlace> old = {{{1, 1}, {10, 4}, 2, false}, {{2, 1}, {20, 4}, 3, false}, {{4, 1}, {40, 5}, 3, true}};
  for (const int ranks : {1, 2, 3, 5}) {
    CAPTURE(ranks);
    Losses window, epoch;
    for (int rank = 0; rank < ranks; ++rank) {
      const RankPlace own = shared_out(old, rank, ranks);
      window = {window.sum + own.window.sum, window.steps + own.window.steps};
      epoch = {epoch.sum + own.epoch.sum, epoch.steps + own.epoch.steps};
      CHECK(own.skipped == 3);
      CHECK(own.last_skipped);
    }
    CHECK(window.sum == 7);
    CHECK(window.steps == 3);
    CHECK(epoch.sum == 70);
    CHECK(epoch.steps == 13);
  }
}

TEST_CASE("a run's traffic is what it was, and what its session adds") {
  Traffic earlier, session;
  earlier.dense_bytes = 100;
  earlier.dense_steps = 5;
  session.dense_bytes = 300;  // of its start, which is not the run's
  session.compressed_parameters = 7;
  RunTraffic traffic;
  CHECK(traffic.of(session).dense_bytes == 300);
  traffic.go_on(earlier, session);
  CHECK(traffic.of(session).dense_bytes == 100);
  session.dense_bytes += 20;
  session.dense_steps += 1;
  CHECK(traffic.of(session).dense_bytes == 120);
  CHECK(traffic.of(session).dense_steps == 6);
  CHECK(traffic.of(session).compressed_parameters == 7);
}
