// SPDX-License-Identifier: Apache-2.0
// Where the time of training steps goes, by the stage that a step belongs to.
#pragma once

#include <cstdint>

#include "onebit/session.hpp"

namespace onebit::host {

// The stage of a step: its round was dense, or compressed, or it had none.
inline constexpr const char *kDense = "dense", *kCompressed = "compressed", *kLocal = "local";

// Seconds, summed over the committed steps of one stage, on one rank.
struct StageTimings {
  int64_t steps = 0;
  double compute = 0;  // batches, forward and backward
  Timings session;     // what the session did with the gradients; with session.overlap partly during backward
  double step = 0;     // all of it, by the clock on the wall

  double codec() const { return session.scan + session.send + session.serve + session.receive; }
};

struct TimingsByStage {
  StageTimings dense, compressed, local;
};

class StepTimings {
 public:
  // session: as the session tells its timings, all steps so far. The time of a skipped step belongs to no stage.
  void add(const StepReport& report, double compute, double step, const Timings& session) {
    const Timings before = so_far_;
    so_far_ = session;
    if (report.skipped) return;
    StageTimings& stage = report.compressed ? stages_.compressed : report.local ? stages_.local : stages_.dense;
    ++stage.steps;
    stage.compute += compute;
    stage.step += step;
    stage.session.scan += session.scan - before.scan;
    stage.session.send += session.send - before.send;
    stage.session.serve += session.serve - before.serve;
    stage.session.receive += session.receive - before.receive;
    stage.session.wait += session.wait - before.wait;
  }
  // Of a run that goes on: what lies behind, and what the session tells before its first step.
  void go_on(const TimingsByStage& earlier, const Timings& session) {
    stages_ = earlier;
    so_far_ = session;
  }
  const TimingsByStage& by_stage() const { return stages_; }

 private:
  Timings so_far_;
  TimingsByStage stages_;
};

}  // namespace onebit::host
