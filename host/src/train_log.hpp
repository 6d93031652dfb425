// What a training run tells while it goes on: to people (Progress) and to programs (metrics.jsonl). Rank 0 alone has one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>

#include "progress.hpp"

namespace onebit::host {

// The run since the last line of the log, averaged over all ranks.
struct LogEntry {
  ProgressState progress;
  uint64_t bytes_sent = 0;  // by this rank, so far
  double seconds = 0;       // of training, so far
};

class TrainLog {
 public:
  // metrics: the file for one JSON object a line; empty: none.
  TrainLog(Progress& progress, const std::filesystem::path& metrics);

  void step(const ProgressState& state) { progress_.draw(state); }
  void entry(const LogEntry& entry);
  void epoch(int64_t epoch, int64_t epochs, int64_t step, std::optional<double> loss, double test_accuracy, double seconds);
  void note(const std::string& text) { progress_.note(text); }

 private:
  void write(const std::string& json_line);

  Progress& progress_;
  std::filesystem::path file_;
  std::ofstream metrics_;
};

}  // namespace onebit::host
