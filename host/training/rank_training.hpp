// SPDX-License-Identifier: Apache-2.0
// One rank's part of a training run: its share of the data, its model, its session.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "data_sets/data_set.hpp"
#include "models/models.hpp"
#include "onebit/session.hpp"
#include "training/dealing.hpp"
#include "training/evaluation.hpp"
#include "training/run_checkpoints.hpp"
#include "training/run_place.hpp"
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
  StepReport last;              // of which the freeze is told
  Traffic traffic;
  StepTimings timings;
};

class RankTraining {
 public:
  // log: NULL on every rank but 0.
  RankTraining(const TrainSettings& settings, const CheckpointPlan& checkpoints, const DataSet& data, Model& model,
               Session& session, TrainLog* log);

  // Collective. Throws Error(state_mismatch) where ranks do not train alike, at the start, and where they do not hold the same
  // model, at the end.
  RankOutcome run();

 private:
  RankOutcome outcome();
  std::string failure();
  void require_same_run();
  void require_same_model(uint64_t hash);
  void begin();
  void train_epoch();
  void step(int64_t step_of_epoch);
  double learn(int64_t step_of_epoch);
  void note(const StepReport& report, double loss);
  void ask_whether_to_stop();
  void report();
  void end_early(bool told);
  void end_epoch();
  void evaluate_if_due();
  void evaluate(bool epoch_done, std::optional<double> epoch_loss);
  std::optional<double> mean_over_ranks(const Losses& losses);
  ProgressState progress(double loss) const;
  Traffic traffic() const { return traffic_.of(session_.traffic()); }
  RunCheckpoints::Place place() const;

  const TrainSettings& settings_;
  const CheckpointPlan& plan_;
  Dealing dealing_;
  Model& model_;
  Session& session_;
  TrainLog* log_;
  const std::shared_ptr<void> attached_;  // the model to the session
  const std::unique_ptr<Feed> feed_;
  Evaluation evaluation_;
  RunCheckpoints checkpoints_;
  const int64_t test_count_;
  int64_t parameters_ = 0;

  RunPlace run_;  // its seconds, timings and traffic are those of the last checkpoint: these go on below
  RankPlace own_;
  RunTraffic traffic_;
  StepTimings timings_;
  Stopwatch trained_;      // evaluation and saving apart
  int64_t steps_ = 0;      // of the whole run, with those that lie behind
  int64_t next_vote_ = 1;  // the step after which ranks ask each other whether to stop
  bool stop_ = false;
  int signal_ = 0;  // why
};

}  // namespace onebit::host
