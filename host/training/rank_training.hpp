// SPDX-License-Identifier: Apache-2.0
// One rank's part of a training run: its share of the data, its model, its session.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "data_sets/data_set.hpp"
#include "onebit/session.hpp"
#include "training/dealing.hpp"
#include "training/evaluation.hpp"
#include "training/models.hpp"
#include "training/stage_timings.hpp"
#include "training/stopwatch.hpp"
#include "training/train_log.hpp"
#include "training/train_schema.hpp"

namespace onebit::host {

// What one rank knows at the end.
struct RankOutcome {
  std::optional<TestResult> test;  // none when the run was interrupted
  std::optional<double> train_loss;
  double seconds = 0;
  int signal = 0;               // that interrupted it, the same on all ranks; 0: none
  std::string failure;          // why what came of it is no result, likewise; "": it is one
  uint64_t parameter_hash = 0;  // the same on all ranks
  Traffic traffic;
  StepTimings timings;
};

class RankTraining {
 public:
  // log: NULL on every rank but 0.
  RankTraining(const TrainSettings& settings, const DataSet& data, Model& model, Session& session, TrainLog* log);

  // Collective. Throws Error(state_mismatch) where ranks do not train alike, at the start, and where they do not hold the same
  // model, at the end.
  RankOutcome run();

 private:
  // Loss added up over committed steps; a skipped step's loss says nothing about the model.
  struct Losses {
    double sum = 0;
    int64_t steps = 0;
    void add(double loss) {
      sum += loss;
      ++steps;
    }
  };

  std::string failure();
  void require_same_run();
  void require_same_model(uint64_t hash);
  void train_epoch(int64_t epoch);
  void step(int64_t step_of_epoch);
  double learn(int64_t step_of_epoch);
  void note(const StepReport& report, double loss);
  void ask_whether_to_stop();
  void report();
  void end_epoch();
  void evaluate(bool epoch_done, std::optional<double> epoch_loss);
  std::optional<double> mean_over_ranks(const Losses& losses);
  ProgressState progress(double loss) const;

  int64_t steps() const { return dealing_.steps_per_epoch() * settings_.epochs; }

  const TrainSettings& settings_;
  Dealing dealing_;
  Model& model_;
  Session& session_;
  TrainLog* log_;
  const std::unique_ptr<Feed> feed_;
  Evaluation evaluation_;
  const int64_t test_count_;
  int64_t parameters_ = 0;

  int64_t epoch_ = 0, taken_ = 0;  // epoch under way, from 0; steps tried
  int64_t skipped_ = 0;            // of these, on this rank
  bool last_skipped_ = false;
  const char* stage_ = kDense;
  StepTimings timings_;
  std::optional<TestResult> test_;
  std::optional<double> train_loss_;
  Losses window_, epoch_losses_;
  double window_began_ = 0;
  int64_t window_tried_ = 0;
  double shown_loss_ = 0, speed_ = 0;
  int64_t next_vote_ = 1;  // the step after which ranks ask each other whether to stop
  Stopwatch trained_;      // evaluation apart
  bool stop_ = false;
  int signal_ = 0;  // why
};

}  // namespace onebit::host
