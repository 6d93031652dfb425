// SPDX-License-Identifier: Apache-2.0
// The runs that are saved and go on: an optimizer, a number of ranks, a topology, and whether dense rounds, errors and the
// reciprocal have 16 bits; and the stages of each, in one step of which it is saved.
#pragma once

#include <cstdlib>
#include <random>

#include "core/saving/saving_runs.hpp"

namespace onebit::test {

struct SavedRun {
  std::string name;
  int ranks = 1;
  std::string toml;
  int64_t last = 0;                               // step
  std::vector<std::vector<int64_t>> stages = {};  // steps of each, after which it is loaded
};

inline std::string optimizer_table(const std::string& name, bool half = false) {
  const std::string plugin = "[optimizer]\nplugin = \"" + name + "\"\nlr = 0.01\nweight_decay = 0.01\n";
  if (name == "adam" || name == "lamb") return plugin;
  if (half) return optimizer_table(name) + "reciprocal_dtype = \"bf16\"\n";
  if (name == "zeroone_adam")
    return plugin +
           "var_freeze_step = 5\nvar_update_scaler = 1\nlocal_step_scaler = 3\nlocal_step_clipper = 4\ndense = [\"b\"]\n";
  return plugin + "freeze_step = 3\ndense = [\"b\"]\n";
}

// 0/1 Adam: dense and compressed in turn; frozen; a sync in every step; between two syncs. The others: dense; frozen; with the
// momentum gone; later.
inline std::vector<std::vector<int64_t>> stages_of(const std::string& name) {
  if (name == "adam" || name == "lamb") return {{1, 2, 3, 4, 5}};
  if (name == "zeroone_adam") return {{1, 2, 3, 4}, {5}, {6, 7, 8, 10, 12}, {9, 11, 13, 14, 15}};
  return {{1, 2}, {3}, {4}, {5, 6, 7, 8}};
}

struct Cell {
  const char* optimizer;
  int ranks;
  bool machines, half;
};

inline bool all_are_wanted() {
  const char* const cells = std::getenv("ONEBIT_SAVING_CELLS");
  return cells != nullptr && std::string(cells) == "all";
}

inline SavedRun run_of(const Cell& cell, const std::string& communicator) {
  const std::string name = cell.optimizer;
  SavedRun run = {name + ", " + std::to_string(cell.ranks) + " ranks, " + (cell.machines ? "hierarchical" : "flat") +
                      (cell.half ? ", 16 bits" : ", fp32"),
                  cell.ranks, optimizer_table(name, cell.half) + codec_table + communicator};
  run.toml += std::string("[exchange]\nbucket_bytes = 8192\ntopology = \"") + (cell.machines ? "hierarchical" : "flat") +
              "\"\ndense_dtype = \"" + (cell.half ? "fp16" : "fp32") + "\"\nerror_dtype = \"" + (cell.half ? "bf16" : "fp32") +
              "\"\n";
  run.stages = stages_of(name);
  run.last = name == "zeroone_adam" ? 17 : run.stages.back().back() + 1;
  return run;
}

// The one of these that is tried.
class RandomStep {
 public:
  RandomStep() {
    const char* const seed = std::getenv("ONEBIT_SAVING_SEED");
    random_.seed(seed == nullptr ? 1U : static_cast<uint32_t>(std::stoul(seed)));
  }
  int64_t of(const std::vector<int64_t>& stage) { return stage[random_() % stage.size()]; }
  const std::vector<int64_t>& one_of(const std::vector<std::vector<int64_t>>& stages) {
    return stages[random_() % stages.size()];
  }

 private:
  std::mt19937 random_;
};

}  // namespace onebit::test
