// SPDX-License-Identifier: Apache-2.0
// What a training loop has reached. With the state of its session it decides how the run goes on, in this process or, from a
// checkpoint, in a later one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "onebit/session.hpp"
#include "training/evaluation.hpp"
#include "training/run_folder.hpp"
#include "training/stage_timings.hpp"

namespace onebit::host {

// Loss added up over committed steps; a skipped step's loss says nothing about the model.
struct Losses {
  double sum = 0;
  int64_t steps = 0;
  void add(double loss) {
    sum += loss;
    ++steps;
  }
};

// Of all ranks; where they differ (times, traffic), of rank 0.
struct RunPlace {
  int64_t epoch = 0;      // under way, from 0
  int64_t samples = 0;    // of this epoch that lie behind
  int64_t taken = 0;      // steps tried
  StepReport last;        // of which the freeze is told
  int64_t evaluated = 0;  // steps tried before the last evaluation on the test set
  std::string stage = kDense;
  double seconds = 0;       // of training
  double window_began = 0;  // the same, when the last line of the log was written
  int64_t window_tried = 0;
  double shown_loss = 0, speed = 0;
  std::optional<TestResult> test;
  std::optional<double> train_loss;
  TimingsByStage timings;
  Traffic traffic;
  MetricsMark metrics;
  std::string settings;  // TrainSettings::common
};

// What each rank has of its own.
struct RankPlace {
  Losses window, epoch;  // since the last line of the log, since the epoch began
  int64_t skipped = 0;   // of the steps tried
  bool last_skipped = false;
};

// As JSON, exactly. Reading throws Error(invalid_argument) for what is no such text.
std::string text_of(const RunPlace& place);
std::string text_of(const RankPlace& place);
RunPlace run_place_of(const std::string& text);
RankPlace rank_place_of(const std::string& text);

// What rank `rank` of `ranks` goes on with, when these are what all old ranks had: sums over all ranks stay the same.
RankPlace shared_out(const std::vector<RankPlace>& old, int rank, int ranks);

// A run's traffic, of which its session knows what came since it was made.
class RunTraffic {
 public:
  // now: the session's. From here on, what it adds to that is added to `earlier`.
  void go_on(const Traffic& earlier, const Traffic& now);
  Traffic of(const Traffic& now) const;

 private:
  Traffic before_;  // may be less than nothing, as unsigned numbers have it
};

}  // namespace onebit::host
