// One rank's part of a training run: its share of the data, its model, its session.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "feed.hpp"
#include "models.hpp"
#include "onebit/session.hpp"
#include "training.hpp"

namespace onebit::host {

// What one rank knows at the end.
struct RankOutcome {
  std::optional<double> test_accuracy, train_loss;
  double seconds = 0;
  bool interrupted = false;
  uint64_t parameter_hash = 0;
  Traffic traffic;
};

class RankTraining {
 public:
  // log: NULL on every rank but 0.
  RankTraining(const TrainSettings& settings, const DataSet& data, Model& model, Session& session, TrainLog* log);

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

  void train_epoch(int64_t epoch);
  void step(const Batch& batch);
  double scheduled_rate() const;
  void agree();
  double evaluate();
  // Sums each value over all ranks, on all of them.
  void sum_over_ranks(std::vector<double>& values);
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
  const double first_rate_;

  int64_t epoch_ = 0, taken_ = 0;  // epoch under way, from 0; steps tried
  const char* stage_ = "dense";
  Losses window_, epoch_losses_;
  double window_began_ = 0;
  int64_t window_tried_ = 0;
  double shown_loss_ = 0, speed_ = 0;
  double trained_ = 0;  // seconds of the epochs before this
  Clock::time_point epoch_began_{};
  bool stop_ = false;
};

}  // namespace onebit::host
