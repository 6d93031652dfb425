// SPDX-License-Identifier: Apache-2.0
// How the samples to train with are dealt out to steps, ranks and micro-batches.
#pragma once

#include <cstdint>
#include <vector>

#include "training/train_schema.hpp"

namespace onebit::host {

// Every rank takes the same number of steps; what does not fill one is left out of its epoch.
class Dealing {
 public:
  // available: samples that there are. Throws Error(invalid_argument) when there is not enough for one step.
  Dealing(const TrainSettings& settings, int64_t available, int ranks);

  int64_t samples() const { return samples_; }
  int64_t samples_a_step() const { return batch_ * accumulate_ * ranks_; }
  int64_t steps_per_epoch() const { return samples_ / samples_a_step(); }

  // A new order, of this epoch (from 0) and the seed alone. dealt: samples of it that lie behind, for a run that goes on; they
  // may have been those of other steps, on another number of ranks.
  void shuffle(int64_t epoch, int64_t dealt = 0);
  // Steps of the epoch from there on.
  int64_t steps_left() const { return dealt_ < samples_ ? (samples_ - dealt_) / samples_a_step() : 0; }
  // The samples of a rank's micro-batch; step: since shuffle, from 0. A step's samples on all ranks depend on neither the size
  // of the micro-batches nor their number, as long as that of both together is the same.
  std::vector<int64_t> micro_batch(int64_t step, int64_t micro, int rank) const;

 private:
  int64_t batch_, accumulate_, ranks_, samples_;
  uint64_t seed_;
  int64_t dealt_ = 0;
  std::vector<int64_t> order_;
};

}  // namespace onebit::host
