// SPDX-License-Identifier: Apache-2.0
// The outcome of a training run, as DIR/summary.json has it.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "onebit/session.hpp"
#include "training/evaluation.hpp"
#include "training/stage_timings.hpp"

namespace onebit::host {

// How a run ended: the words of summary.json, metrics.jsonl and standard output.
enum class Ending { completed, interrupted, failed };
const char* text_of(Ending ending);

// Of a configuration with a compressed stage in which compressed rounds compress no element.
inline constexpr const char* kWhyNothingCompressed =
    "each tensor is exempt (optimizer.dense), has fewer elements than exchange.dense_below or would be larger compressed; or "
    "all ranks are on one machine, with exchange.topology = \"hierarchical\"";

struct Summary {
  Ending ending = Ending::completed;
  std::string reason;  // interrupted: by which signal; failed: why; else ""
  std::string config, optimizer, compressor, communicator;
  std::map<std::string, std::string> versions;           // of onebit, its plugins, libtorch
  std::optional<double> final_test_loss;                 // none unless the run was completed
  std::optional<double> final_test_accuracy;             // likewise, and where samples are not labelled
  LossByBand final_loss_by_target, final_loss_by_input;  // likewise; of text with bands
  std::optional<double> final_train_loss;  // mean over the last epoch's steps and all ranks; none when no step was taken,
                                           // or the run failed
  double train_seconds = 0;                // in training steps; evaluation and start apart
  int64_t steps = 0;                       // committed
  int64_t parameters = 0;
  int ranks = 0;
  int machines = 0;             // on which they ran
  int signal = 0;               // that interrupted it; 0: none
  uint64_t parameter_hash = 0;  // 0: not known, the run failed
  StepReport last;              // of which the freeze is told
  Traffic traffic;              // of rank 0
  TimingsByStage timings;       // likewise
};

// Bits that crossed the wire per parameter and direction: 8 x bytes / (steps x parameters x 2 (n - 1) / n). None without steps
// or with one rank. sharers: of a rank's bytes there are so many, and n counts groups of them (Traffic::sharers).
std::optional<double> wire_bits(uint64_t bytes, int64_t steps, int64_t parameters, int ranks, int sharers = 1);

std::string to_json(const Summary& summary);
nlohmann::ordered_json to_json(const TimingsByStage& timings);

}  // namespace onebit::host
