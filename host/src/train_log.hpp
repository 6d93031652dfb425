// What a training run tells: to people (Progress) and to programs (metrics.jsonl while it goes on, summary.json at its end).
// Rank 0 alone tells.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "progress.hpp"
#include "stage_timings.hpp"
#include "summary.hpp"

namespace onebit::host {

// The run since the last line of the log, averaged over all ranks.
struct LogEntry {
  ProgressState progress;
  uint64_t bytes_sent = 0;  // by this rank, so far
  double seconds = 0;       // of training, so far
  StepTimings timings;      // likewise
};

class TrainLog {
 public:
  // folder: for metrics.jsonl, one JSON object a line, and summary.json. Nothing is made or written before begin().
  TrainLog(Progress& progress, std::filesystem::path folder) : progress_(progress), folder_(std::move(folder)) {}

  void begin(const std::string& text);
  void step(const ProgressState& state) { progress_.draw(state); }
  void entry(const LogEntry& entry);
  void epoch(int64_t epoch, int64_t epochs, int64_t step, std::optional<double> loss, double test_accuracy, double seconds);
  void finish(const Summary& summary);

 private:
  void write(const std::string& json_line);

  Progress& progress_;
  std::filesystem::path folder_;
  std::ofstream metrics_;
};

}  // namespace onebit::host
