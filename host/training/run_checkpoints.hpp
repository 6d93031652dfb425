// SPDX-License-Identifier: Apache-2.0
// The checkpoints of a run: from which it goes on, when it saves, and what becomes of it where that fails.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "onebit/session.hpp"
#include "training/checkpoint_schema.hpp"
#include "training/run_place.hpp"
#include "training/train_log.hpp"

namespace onebit::host {

struct CheckpointPlan {
  CheckpointSettings settings;
  std::filesystem::path root;                   // where the run saves; empty: nowhere
  std::optional<std::filesystem::path> resume;  // a root or one checkpoint, to go on from if there is one
  bool ignore_state = false;                    // then take the parameters alone, and begin

  // What is to be the same on all ranks, a line each.
  std::string common() const;
};

// resume: as --resume has it: none, "" for the run's own, or a folder. out: of the run's results. Throws where there is nothing
// to go on from, and where the run would save among checkpoints that it does not go on from.
CheckpointPlan plan_checkpoints(const CheckpointSettings& settings, const std::filesystem::path& out,
                                const std::optional<std::string>& resume, bool ignore_state);
void require_room(const CheckpointPlan& plan);

// On one rank. All of it is collective, but for due().
class RunCheckpoints {
 public:
  struct Place {
    RunPlace run;
    RankPlace own;
  };

  // All outlive it. log: NULL on every rank but 0.
  RunCheckpoints(const CheckpointPlan& plan, Session& session, TrainLog* log);

  // Before the first step: what the session now goes on from; nothing where the run begins. Throws where checkpoints are there
  // and none can be loaded, and where there is none whose parameters could be taken. settings: TrainSettings::common.
  std::optional<Place> resume(const std::string& settings);
  bool due(int64_t taken) const;
  bool on_signal() const { return saves() && plan_.settings.on_signal; }
  // May return before it is written.
  void save(Place place);
  // When the run ends, unless its last step has been saved.
  void save_last(Place place);
  // Waits for what is being written.
  void finish();

 private:
  bool saves() const { return !plan_.root.empty(); }
  void write(Place place, bool wait);
  Place place_in(const LoadReport& report) const;
  void tell(const LoadReport& report) const;
  bool first_finds(const std::function<bool()>& seen);
  MetricsMark mark();
  void tell_saved(const SaveReport& report, int64_t taken);
  void tell_left(const SaveReport& report) const;
  void tell(const std::string& text) const;
  template <class F>
  void attempt(F&& f);

  const CheckpointPlan& plan_;
  Session& session_;
  TrainLog* log_;
  int64_t saved_ = -1;  // steps tried, at the last save that has not failed
};

}  // namespace onebit::host
