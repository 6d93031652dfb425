// SPDX-License-Identifier: Apache-2.0
// What a training run tells: to people (Progress) and to programs (metrics.jsonl while it goes on, summary.json and
// model.safetensors at its end). Rank 0 alone tells.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "models/models.hpp"
#include "training/evaluation.hpp"
#include "training/progress.hpp"
#include "training/run_folder.hpp"
#include "training/run_place.hpp"
#include "training/stage_timings.hpp"
#include "training/summary.hpp"

namespace onebit::host {

// The run since the last line of the log, averaged over all ranks.
struct LogEntry {
  ProgressState progress;
  uint64_t bytes_sent = 0;  // by this rank, so far
  double seconds = 0;       // of training, so far
  StepTimings timings;      // likewise
  StepReport last;          // of which the freeze is told
};

// An evaluation, after a step.
struct LogEvaluation {
  int64_t step = 0, steps = 0;
  int64_t epoch = 1, epochs = 1;  // under way, or just done
  TestResult test;
  bool epoch_done = false;
  std::optional<double> epoch_loss;  // mean training loss of the epoch that is done
  uint64_t bytes_sent = 0;
  double seconds = 0;
};

class TrainLog {
 public:
  // folder: for metrics.jsonl, one JSON object a line, and summary.json. Nothing is made or written before begin().
  TrainLog(Progress& progress, std::filesystem::path folder) : progress_(progress), folder_(std::move(folder)) {}

  // Before anything that takes time: what an earlier run left is not this one's. Throws where another run has the folder.
  void prepare() const { folder_.put_aside(); }
  // start: what is known of the run before its first step. may_go_on: what an earlier part of it wrote stays until go_on().
  void begin(const std::string& text, const Summary& start, bool may_go_on = false);
  // The run goes on from here: what was written after it is taken away, all of it where `place` is the beginning.
  void go_on(const RunPlace& place);
  void note(const std::string& text) { progress_.note(text); }
  // Of what was written so far, which lasts when this returns.
  MetricsMark mark() const { return folder_.mark_metrics(); }
  bool begun() const { return folder_.claimed(); }
  // So far: what was sent, and seconds of training.
  void step(const ProgressState& state, const Traffic& traffic, double seconds);
  void entry(const LogEntry& entry);
  void evaluation(const LogEvaluation& evaluation);
  void write_model(Model& model) const;
  void finish(const Summary& summary);
  // Instead of finish, where something was thrown: the summary says so, with the figures that were told last. Does nothing
  // unless the run has begun, and throws nothing: the reason is the error to tell.
  void fail(const std::string& reason) noexcept;
  std::filesystem::path summary_file() const { return folder_.summary(); }

 private:
  void note_so_far(const Traffic& traffic, double seconds);
  void write_ending(const Summary& summary);
  void tell_if_all_dense(const Summary& summary);

  Progress& progress_;
  RunFolder folder_;
  Summary known_;  // so far
};

}  // namespace onebit::host
