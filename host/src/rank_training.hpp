// One rank's part of a training run: its share of the data, its model, its session.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "feed.hpp"
#include "models.hpp"
#include "onebit/session.hpp"
#include "stage_timings.hpp"
#include "train_log.hpp"
#include "train_schema.hpp"

namespace onebit::host {

// How a training set is dealt out. Every rank takes the same number of steps; what does not fill one is left out of its epoch.
struct Dealing {
  // Throws Error(invalid_argument) when there is not enough for one step.
  Dealing(const TrainSettings& settings, const Images& train, int ranks);

  int64_t samples;
  int64_t steps_per_epoch;
};

// What one rank knows at the end.
struct RankOutcome {
  std::optional<double> test_accuracy, train_loss;
  double seconds = 0;
  bool interrupted = false;
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
  using Clock = std::chrono::steady_clock;
  // Loss added up over committed steps; a skipped step's loss says nothing about the model.
  struct Losses {
    double sum = 0;
    int64_t steps = 0;
    void add(double loss) {
      sum += loss;
      ++steps;
    }
  };

  void require_same_run();
  void require_same_model(uint64_t hash);
  void train_epoch(int64_t epoch);
  void step(const Batch& batch);
  double scheduled_factor() const;
  void ask_whether_to_stop();
  void report();
  double evaluate();
  double mean_over_ranks(const Losses& losses);
  double seconds() const { return trained_ + std::chrono::duration<double>(Clock::now() - epoch_began_).count(); }
  ProgressState progress(double loss) const;

  int64_t steps() const { return dealing_.steps_per_epoch * settings_.epochs; }

  const TrainSettings& settings_;
  const Dealing dealing_;
  Model& model_;
  Session& session_;
  TrainLog* log_;
  Feed train_feed_, test_feed_;
  int64_t test_count_;
  int64_t parameters_ = 0;

  int64_t epoch_ = 0, taken_ = 0;  // epoch under way, from 0; steps tried
  const char* stage_ = "dense";
  StepTimings timings_;
  Losses window_, epoch_losses_;
  double window_began_ = 0;
  int64_t window_tried_ = 0;
  double shown_loss_ = 0, speed_ = 0;
  int64_t next_vote_ = 1;  // the step after which ranks ask each other whether to stop
  double trained_ = 0;     // seconds of the epochs before this
  Clock::time_point epoch_began_{};
  bool stop_ = false;
};

}  // namespace onebit::host
