// SPDX-License-Identifier: Apache-2.0
// Who gets which samples: by epoch, step, micro-batch and rank; and too few of them.
#include "training/dealing.hpp"

#include <doctest/doctest.h>

#include <set>

#include "data_sets/random.hpp"
#include "onebit/error.hpp"
#include "support/sessions.hpp"

using namespace onebit::host;  // NOLINT(google-build-using-namespace): the room under test

namespace {

TrainSettings of_batches(int64_t batch) {
  const auto manifest = onebit::Manifest::parse(
      "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n[train]\nbatch = " + std::to_string(batch),
      "test.toml", ".");
  return TrainSettings(onebit::Configuration(onebit::test::plugins(), manifest, train_schema()));
}

}  // namespace

TEST_CASE("micro-batches are parts of the batch that they are instead of") {
  TrainSettings settings = of_batches(12);
  Dealing whole(settings, 100, 2);
  settings.batch = 4;
  settings.accumulate = 3;
  Dealing parts(settings, 100, 2);
  CHECK(parts.steps_per_epoch() == 4);
  std::set<int64_t> dealt;
  for (const int64_t epoch : {0, 1}) {
    whole.shuffle(epoch);
    parts.shuffle(epoch);
    for (int64_t step = 0; step < 4; ++step)
      for (const int rank : {0, 1}) {
        std::vector<int64_t> gathered;
        for (int64_t micro = 0; micro < 3; ++micro)
          for (const int64_t sample : parts.micro_batch(step, micro, rank)) gathered.push_back(sample);
        CHECK(gathered == whole.micro_batch(step, 0, rank));
        if (epoch == 0) dealt.insert(gathered.begin(), gathered.end());
      }
  }
  CHECK(dealt.size() == 96);
}

TEST_CASE("an epoch of which a part lies behind goes on where that ends, on any number of ranks") {
  const TrainSettings settings = of_batches(4);
  Dealing two(settings, 100, 2), three(settings, 100, 3);
  two.shuffle(1);
  std::vector<int64_t> order;  // of the epoch
  for (int64_t step = 0; step < two.steps_per_epoch(); ++step)
    for (int64_t i = 0; i < 4; ++i)
      for (const int rank : {0, 1}) order.push_back(two.micro_batch(step, 0, rank)[static_cast<size_t>(i)]);
  two.shuffle(1, 5 * 8);
  CHECK(two.steps_left() == 12 - 5);
  CHECK(two.micro_batch(0, 0, 1)[0] == order[41]);
  three.shuffle(1, 5 * 8);
  CHECK(three.steps_left() == 60 / 12);
  for (int64_t i = 0; i < 4; ++i)
    for (const int rank : {0, 1, 2})
      CHECK(three.micro_batch(1, 0, rank)[static_cast<size_t>(i)] == order[static_cast<size_t>(40 + 12 + 3 * i + rank)]);
  two.shuffle(1, 100);
  CHECK(two.steps_left() == 0);
}

TEST_CASE("too few samples for a step") {
  TrainSettings settings = of_batches(8);
  CHECK_THROWS_WITH_AS(Dealing(settings, 15, 2),
                       doctest::Contains("train.batch = 8 on 2 ranks takes 16 samples a step, but there are 15"),
                       onebit::Error);
  settings.samples = 16;
  CHECK_THROWS_WITH_AS(Dealing(settings, 15, 2), doctest::Contains("train.samples = 16, but the training set has 15"),
                       onebit::Error);
}

TEST_CASE("too few samples for a step's micro-batches") {
  TrainSettings settings = of_batches(8);
  settings.accumulate = 3;
  CHECK_THROWS_WITH_AS(
      Dealing(settings, 40, 2),
      "train.batch = 8, 3 times a step, on 2 ranks takes 48 samples a step, but there are 40; lower train.batch, "
      "train.accumulate or the number of ranks",
      onebit::Error);
}

TEST_CASE("shuffling is a permutation, the same for a seed on every machine") {
  const auto order = shuffled(1000, Random(1, 2));
  CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 1000);
  CHECK(order != shuffled(1000, Random(1, 3)));
  CHECK(order != shuffled(1000, Random(2, 2)));
  CHECK(shuffled(6, Random(7)) == std::vector<int64_t>{4, 0, 1, 2, 3, 5});
  CHECK(shuffled(0, Random(7)).empty());
}
