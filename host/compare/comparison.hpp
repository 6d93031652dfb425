// SPDX-License-Identifier: Apache-2.0
// Several training runs side by side, from their summaries: what accuracy cost how many bytes, and what those bytes take.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace onebit::host {

// Seconds of a step, on the average of a stage's.
struct StepFigures {
  double compute = 0, codec = 0, wait = 0;
};

// What a comparison needs of a summary.json.
struct RunFigures {
  std::string name;
  std::string status;  // "completed" or "interrupted"
  std::optional<double> accuracy, test_loss, train_loss;
  double seconds = 0;
  int64_t steps = 0, ranks = 0;
  double bytes_sent = 0;
  std::optional<double> dense_bits, compressed_bits;
  std::optional<StepFigures> dense_step, compressed_step, local_step;
};

// Throws Error(invalid_argument), naming file and key, when it is not a summary, and with the reason when it is that of a run
// that failed, which has no figures that mean anything.
RunFigures read_summary(const std::filesystem::path& file);

// The first row has the heads of the columns; the first column names the rows.
using Table = std::vector<std::vector<std::string>>;
// One column a run; the first run is what the others are measured against.
Table comparison_of(const std::vector<RunFigures>& runs);
std::string aligned_text(const Table& table);
std::string markdown_text(const Table& table);

}  // namespace onebit::host
