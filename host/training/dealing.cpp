// SPDX-License-Identifier: Apache-2.0
// Dealing out samples.
#include "training/dealing.hpp"

#include <fmt/format.h>

#include "data_sets/random.hpp"
#include "onebit/error.hpp"

namespace onebit::host {

Dealing::Dealing(const TrainSettings& settings, int64_t available, int ranks)
    : batch_(settings.batch),
      accumulate_(settings.accumulate),
      ranks_(ranks),
      samples_(settings.samples == 0 ? available : settings.samples),
      seed_(settings.seed) {
  if (samples_ > available)
    throw Error(Code::invalid_argument,
                fmt::format("train.samples = {}, but the training set has {} samples", samples_, available));
  if (steps_per_epoch() > 0) return;
  const std::string times = accumulate_ == 1 ? "" : fmt::format(", {} times a step,", accumulate_);
  throw Error(
      Code::invalid_argument,
      fmt::format("train.batch = {}{} on {} ranks takes {} samples a step, but there are {}; lower train.batch{} or the "
                  "number of ranks",
                  batch_, times, ranks_, settings.samples_a_step(ranks), samples_,
                  accumulate_ == 1 ? "" : ", train.accumulate"));
}

void Dealing::shuffle(int64_t epoch, int64_t dealt) {
  dealt_ = dealt;
  order_ = shuffled(samples_, Random(seed_, kOrderStream + static_cast<uint64_t>(epoch)));
}

std::vector<int64_t> Dealing::micro_batch(int64_t step, int64_t micro, int rank) const {
  const int64_t first = (step * accumulate_ + micro) * batch_;
  std::vector<int64_t> samples;
  for (int64_t i = first; i < first + batch_; ++i) samples.push_back(order_[static_cast<size_t>(dealt_ + i * ranks_ + rank)]);
  return samples;
}

}  // namespace onebit::host
