// When an optimizer of the Adam family freezes its variance: at a step that the user names, or ("auto") when the variance is
// stable. The rule of 1-bit Adam (arXiv 2102.02888, section 7.1), two-sided and bias-corrected, for else it holds while the
// variance still rises from zero:
//
//   min(q, 1/q) >= freeze_threshold,   q = |v_t|_1 / |v_{t-d}|_1,   the learning rate not having risen in the last d steps
//
// d, freeze_window, is 1 / (1 - beta2) steps, which was a twentieth of the steps before the freeze in the paper's runs. Shorter
// runs would never freeze by it; where fewer than thirty times as many steps have passed, it is a thirtieth of those. The
// corrected variance is then about the plain average of all squared gradients: the last thirtieth of them must not be more than
// 2.2 times as large. Large first ones, which make it fall as 1 / t, a thirtieth in such a window, do not hold the freeze up
// (in a window of a twentieth they did: to 59 % of the steps of one run of a small transformer, and for good in others). Before
// 0.15 / (1 - beta2) steps it is not decided at all: what is frozen is an average of too few gradients then (a small
// convolutional network, 936 steps, lost 0.3 to 0.5 points of accuracy with a freeze at 60 or 94, and none at 187). Decided in
// combine, on sums that all ranks share; the step after that is the last dense one, which plan knows.
#pragma once

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

#include "onebit/adam.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

class FreezeRule {
 public:
  // The three options. key: "freeze_step" or "var_freeze_step".
  static onebit_schema step_option(std::string_view key, std::string_view help) {
    onebit_schema schema = option(key, ONEBIT_VALUE_INT | ONEBIT_VALUE_STRING, "\"auto\"", 1, 9e15, help);
    schema.choices = str("auto");
    return schema;
  }
  static onebit_schema threshold_option() {
    return real_option("freeze_threshold", "0.96", 0.01, 1,
                       "\"auto\": how near to 1 the ratio of two norms of the variance must be");
  }
  static onebit_schema window_option() {
    return integer_option(
        "freeze_window", "0", 0, most,
        "\"auto\": steps between those two; 0: 1 / (1 - beta2), or a thirtieth of the steps so far where that is less");
  }

  FreezeRule(const Services& services, std::string_view optimizer, std::string_view key, const Options& options,
             AdamBetas betas)
      : services_(services),
        optimizer_(optimizer),
        fixed_(options.is_text(key) ? 0 : options.integer(key)),
        threshold_(options.real("freeze_threshold")),
        window_(options.integer("freeze_window")),
        longest_(static_cast<int64_t>(std::clamp(std::round(1 / (1 - betas.second)), 1.0, static_cast<double>(most)))),
        soonest_(static_cast<int64_t>(std::round(0.15 / (1 - betas.second)))) {}

  void declare(StateDeclarer& state) {
    if (!automatic()) return;
    norms_ = state.per_model("variance_norms", 2 * static_cast<int>(capacity()));  // pairs (step, norm), the last ones
    seen_ = state.per_model("variance_norms_seen");
    first_ = state.per_model("variance_norms_since");  // the first step of all
    decided_ = state.per_model("freeze_decided");      // the last dense step; 0: not yet
    rate_ = state.per_model("freeze_last_rate");
    risen_ = state.per_model("freeze_rate_risen");  // the last step at which the learning rate rose
  }

  bool automatic() const { return fixed_ == 0; }
  // In plan: whether this dense step is the last.
  bool is_last(const Step& step, const Totals& totals) const {
    if (!automatic()) return step.number >= fixed_;
    return at(totals, decided_) > 0 && static_cast<double>(step.number) >= at(totals, decided_);
  }
  // In combine of a step that changed the variance, while automatic. norm: of the bias-corrected variance, over all ranks'
  // model.
  void observe(const Step& step, const Totals& totals, double norm) const {
    if (at(totals, decided_) > 0) return;
    double rate = 0;
    for (size_t g = 0; g < step.group_count; ++g) rate += step.groups[g].learning_rate;
    if (rate > at(totals, rate_)) at(totals, risen_) = static_cast<double>(step.number);
    at(totals, rate_) = rate;
    const auto seen = static_cast<int64_t>(at(totals, seen_));
    remember(totals, seen, step.number, norm);
    decide(step, totals, seen, norm);
  }

 private:
  static constexpr int64_t most = 2000;  // of freeze_window
  int64_t capacity() const { return (window_ > 0 ? window_ : longest_) + 1; }
  static double& at(const Totals& totals, int slot, int64_t index = 0) {
    return static_cast<double*>(totals.slots[slot])[index];
  }

  void remember(const Totals& totals, int64_t seen, int64_t number, double norm) const {
    const int64_t place = 2 * (seen % capacity());
    at(totals, norms_, place) = static_cast<double>(number);
    at(totals, norms_, place + 1) = norm;
    at(totals, seen_) = static_cast<double>(seen + 1);
  }

  // seen: how many there were before this one.
  void decide(const Step& step, const Totals& totals, int64_t seen, double norm) const {
    if (seen == 0) at(totals, first_) = static_cast<double>(step.number);
    const int64_t age = step.number - static_cast<int64_t>(at(totals, first_)) + 1;
    const int64_t window = window_ > 0 ? window_ : std::clamp<int64_t>(age / 30, 1, longest_);
    if (age < std::max(window, soonest_) || step.number - static_cast<int64_t>(at(totals, risen_)) < window) return;
    for (int64_t back = 1; back <= std::min(seen, capacity() - 1); ++back) {
      const int64_t place = 2 * ((seen - back) % capacity());
      const auto then = static_cast<int64_t>(at(totals, norms_, place));
      if (step.number - then < window) continue;
      const double q = norm / at(totals, norms_, place + 1);
      if (!(std::min(q, 1 / q) >= threshold_)) return;
      at(totals, decided_) = static_cast<double>(step.number + 1);
      return tell(step, then, q, static_cast<int64_t>(at(totals, risen_)));
    }
  }

  void tell(const Step& step, int64_t then, double q, int64_t risen) const {
    if (step.rank != 0) return;
    char text[256];
    std::snprintf(text, sizeof text,
                  "the variance is stable: |v| at step %" PRId64 " is %.4f of that at step %" PRId64
                  " (threshold %.4g either way), and the learning rate has not risen since step %" PRId64 "; step %" PRId64
                  " is the last dense one",
                  step.number, q, then, threshold_, risen, step.number + 1);
    services_.log(LogLevel::info, optimizer_, text);
  }

  const Services services_;
  const std::string optimizer_;
  const int64_t fixed_;  // the last dense step; 0: automatic
  const double threshold_;
  const int64_t window_, longest_, soonest_;
  int norms_ = -1, seen_ = -1, first_ = -1, decided_ = -1, rate_ = -1, risen_ = -1;
};

}  // namespace onebit
