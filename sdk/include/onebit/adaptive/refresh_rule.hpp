// SPDX-License-Identifier: Apache-2.0
// Seldom dense rounds after the freeze, ever further apart, that renew the frozen variance: without them an optimizer goes on
// with the variance of its first steps, while gradients become smaller and features come that it had not seen.
//
//   v = (1 - w) v + w g^2                 g: the mean gradient, exact;  v before: (1 / r - eps)^2;  floored as at the freeze
//   w = (1 - b2^k) / (1 - b2^t) <= 0.1    k: updates since the variance changed last;  t: all of them
//
// which is what Adam's own variance would be made of, had all k gradients been g. So one gradient stands for many: a spike in
// such a step shortens steps until the next few have outweighed it; session.clip_norm bounds it. (A bound on each element's
// growth would let the variance of rare features sink without end, for it is made of few gradients, each of them large.)
// Messages under way, errors and retained means stay as they are: they are updates, made with the reciprocal of their time. A
// tensor that a sync of 0/1 Adam brings together for gradients of earlier local steps counts with zeros where it has none in
// the sync's step.
#pragma once

#include <algorithm>
#include <cmath>

#include "onebit/adaptive/adam.hpp"
#include "onebit/options.hpp"
#include "onebit/programs/view.hpp"

namespace onebit {

// The part for programs: plain data.
struct Refresh {
  float weight = 0;  // of this step's gradient; 0: this step does not refresh
  double update = 0;
  int done = -1;

  ONEBIT_HOST_DEVICE bool is_due() const { return weight > 0; }
  // Whether tiles are those of the round that is for the variance: the first of two.
  ONEBIT_HOST_DEVICE bool is_round(const View& view) const { return is_due() && view.round == 0; }
  // In combine, by one thread.
  ONEBIT_HOST_DEVICE void note(const View& view) const {
    if (is_due()) *doubles(view, done) = update;
  }
};

class RefreshRule {
 public:
  static onebit_schema option() {
    return real_option("refresh", "0.1", 0, 1e6,
                       "message = \"update\": dense rounds after the freeze that renew the frozen variance, one whenever the "
                       "number of steps has "
                       "grown by this fraction; 0: none, as in the paper");
  }
  // of_updates: whether messages are of updates. Error feedback of plain momenta would not survive a change of their units.
  RefreshRule(const Options& options, AdamBetas betas, bool of_updates)
      : growth_(of_updates ? options.real("refresh") : 0),
        beta_(betas.second),
        corrects_(options.boolean("bias_correction")),
        shortest_(std::max(1.0, std::round(0.01 / (1 - betas.second)))) {}

  void declare(StateDeclarer& state, Refresh& refresh) const { refresh.done = state.per_model("refreshed_at_update"); }

  // In plan of a compressed step that is not the first. frozen: updates that the variance has from before the freeze; update:
  // this one, counted from 1.
  void plan(const Totals& totals, double frozen, double update, Refresh& refresh) const {
    const double last = std::max(frozen, *doubles(totals, refresh.done)), since = update - last;
    if (growth_ <= 0 || since < std::max(growth_ * last, shortest_)) return;
    const double all = corrects_ ? 1 - std::pow(beta_, update) : 1;
    refresh.update = update;
    refresh.weight = static_cast<float>(std::min((1 - std::pow(beta_, since)) / all, most_weight));
  }

 private:
  static constexpr double most_weight = 0.1;  // a variance of fewer than ten gradients would be noise
  const double growth_, beta_;
  const bool corrects_;
  const double shortest_;  // steps in between
};

}  // namespace onebit
