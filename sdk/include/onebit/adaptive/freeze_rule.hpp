// SPDX-License-Identifier: Apache-2.0
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
// convolutional network, 936 steps, lost 0.3 to 0.5 points of accuracy with a freeze at 60 or 94, and none at 187).
//
// Nor while more than a tenth of all elements have had no gradient, but for this it waits for at most 0.3 / (1 - beta2) steps:
// there may be some that never have one. (A recurrent network of words, 1200 steps at a rate of 4e-3: frozen at 151, where 23 %
// were unseen, 1-bit Adam ended 0.045 nats above Adam, and 0.015 at 300.)
//
// Where trust ratios are frozen, too, they must be stable: their geometric mean over tensors, averaged over the last eighth of
// the steps, is within 10 % of that over the eighth before, or 0.6 / (1 - beta2) steps have passed. (The same network: 1-bit
// LAMB ended 0.20 nats above LAMB where they still grew tenfold in fifty steps, and 0.08 below it frozen at 240 or 300. What
// tensors do in opposite directions is not seen.)
//
// Decided in combine, on sums that all ranks share; the step after that is the last dense one, which plan knows.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "onebit/adaptive/adam.hpp"
#include "onebit/adaptive/variance_sums.hpp"
#include "onebit/number_text.hpp"
#include "onebit/optimizer.hpp"
#include "onebit/programs/view.hpp"

namespace onebit {

// The part that combine runs, as plain data for programs (program.hpp): it remembers norms and decides. All state is per model.
struct FreezeWatch {
  double threshold = 0;
  int64_t window = 0, longest = 1, soonest = 0, patience = 0;  // patience: for unseen elements; twice as long for trust ratios
  bool automatic = false, follows_ratios = false;
  int norms = -1, seen = -1, first = -1, decided = -1, rate = -1, risen = -1, ratio = -1, since = -1, until = -1;
  int unseen_share = -1, levels = -1, level_change = -1, waits_for = -1;

  enum Waits : int { nothing, steps, the_rate, the_variance, the_unseen, the_ratios };

  void declare(StateDeclarer& state) {
    if (!automatic) return;
    norms = state.per_model("variance_norms", 2 * static_cast<int>(capacity()));  // pairs (step, norm), the last ones
    seen = state.per_model("variance_norms_seen");
    first = state.per_model("variance_norms_since");  // the first step of all
    decided = state.per_model("freeze_decided");      // the last dense step; 0: not yet
    rate = state.per_model("freeze_last_rate");
    risen = state.per_model("freeze_rate_risen");     // the last step at which the learning rate rose
    ratio = state.per_model("freeze_norm_ratio");     // what decided: q, and
    since = state.per_model("freeze_norm_compared");  // the step t - d
    until = state.per_model("freeze_norm_observed");  // the step t
    waits_for = state.per_model("freeze_waits_for");  // one of Waits, since the last step
    if (!follows_ratios) return;
    levels = state.per_model("trust_ratio_levels", static_cast<int>(levels_kept()));  // by step, each added to all before
    level_change = state.per_model("trust_ratio_level_change");                       // from the eighth before to the last one
  }

  // In combine of a step that changed the variance, after that of all tensors, by one thread. level: where trust ratios are
  // followed, the mean over tensors of their logarithms.
  ONEBIT_HOST_DEVICE void observe(const View& view, const VarianceSums& sums, double level = 0) const {
    const double norm = sums.combine_model(view);
    if (!automatic || at(view, decided) > 0) return;
    double now = 0;
    for (int64_t g = 0; g < view.group_count; ++g) now += view.groups[g].learning_rate;
    if (now > at(view, rate)) at(view, risen) = static_cast<double>(view.number);
    at(view, rate) = now;
    const int64_t before = counter(view, seen);
    if (before == 0) at(view, first) = static_cast<double>(view.number);
    const int64_t place = 2 * (before % capacity());
    at(view, norms, place) = static_cast<double>(view.number);
    at(view, norms, place + 1) = norm;
    at(view, seen) = static_cast<double>(before + 1);
    if (follows_ratios) at(view, levels, before % levels_kept()) = (before > 0 ? level_sum(view, before - 1) : 0) + level;
    const Waits found = waits(view, before, norm);
    at(view, waits_for) = static_cast<double>(found);
    if (found == nothing) at(view, decided) = static_cast<double>(view.number + 1);
  }
  // Of so many observations, as far as trust ratios are kept.
  ONEBIT_HOST_DEVICE int64_t eighth(int64_t observations) const {
    const int64_t share = observations / 8, half = (levels_kept() - 1) / 2;
    return share < 1 ? 1 : share > half ? half : share;
  }

 private:
  static constexpr double level_limit = 0.0953;  // ln(1.1)

  ONEBIT_HOST_DEVICE int64_t capacity() const { return (window > 0 ? window : longest) + 1; }
  ONEBIT_HOST_DEVICE int64_t levels_kept() const { return (longest > 2 ? longest : 2) + 1; }
  template <class From>
  ONEBIT_HOST_DEVICE static double& at(const From& from, int slot, int64_t index = 0) {
    return doubles(from, slot)[index];
  }
  ONEBIT_HOST_DEVICE int64_t window_at(int64_t age) const {
    if (window > 0) return window;
    const int64_t share = age / 30;
    return share < 1 ? 1 : share > longest ? longest : share;
  }
  ONEBIT_HOST_DEVICE double level_sum(const View& view, int64_t observed) const {
    return at(view, levels, observed % levels_kept());
  }

  // before: how many observations there were before this one.
  ONEBIT_HOST_DEVICE Waits waits(const View& view, int64_t before, double norm) const {
    const int64_t age = view.number - static_cast<int64_t>(at(view, first)) + 1, apart = window_at(age);
    if (age < apart || age < soonest) return steps;
    if (view.number - static_cast<int64_t>(at(view, risen)) < apart) return the_rate;
    if (!is_stable(view, before, norm, apart)) return the_variance;
    if (at(view, unseen_share) > VarianceSums::many_unseen && age < patience) return the_unseen;
    return follows_ratios && !ratios_are_stable(view, before) && age < 2 * patience ? the_ratios : nothing;
  }
  ONEBIT_HOST_DEVICE bool is_stable(const View& view, int64_t before, double norm, int64_t apart) const {
    for (int64_t back = 1; back <= before && back < capacity(); ++back) {
      const int64_t place = 2 * ((before - back) % capacity());
      const double then = at(view, norms, place);
      if (static_cast<double>(view.number) - then < static_cast<double>(apart)) continue;
      const double before_norm = at(view, norms, place + 1);
      if (!(norm > 0 && before_norm > 0)) return false;
      const double q = norm / before_norm;
      at(view, ratio) = q;
      at(view, since) = then;
      at(view, until) = static_cast<double>(view.number);
      return q >= threshold && 1 / q >= threshold;
    }
    return false;
  }
  ONEBIT_HOST_DEVICE bool ratios_are_stable(const View& view, int64_t before) const {
    const int64_t part = eighth(before + 1);
    if (before < 2 * part) return false;
    const double now = level_sum(view, before), middle = level_sum(view, before - part);
    const double change = (now - 2 * middle + level_sum(view, before - 2 * part)) / static_cast<double>(part);
    at(view, level_change) = change;
    return change <= level_limit && change >= -level_limit;
  }
};

class FreezeRule {
 public:
  // The three options. key: "freeze_step" or "var_freeze_step".
  static onebit_schema step_option(std::string_view key, std::string_view help) {
    onebit_schema schema = option(key, ONEBIT_VALUE_INT | ONEBIT_VALUE_STRING, "\"auto\"", 1, 9e15, help);
    schema.choices = str("auto");
    return schema;
  }
  static onebit_schema threshold_option() {
    return real_option(
        "freeze_threshold", "0.96", 0.01, 1,
        "\"auto\": the variance is stable if the ratio of its norm now to its norm freeze_window steps ago is at "
        "least this and at most 1 / this");
  }
  static onebit_schema window_option() {
    return integer_option("freeze_window", "0", 0, most,
                          "\"auto\": steps between the two norms that are compared; 0: 1 / (1 - beta2), but at most a "
                          "thirtieth of the steps so far");
  }

  FreezeRule(const Services& services, std::string_view optimizer, std::string_view key, const Options& options,
             AdamBetas betas)
      : services_(services), optimizer_(optimizer), fixed_(options.is_text(key) ? 0 : options.integer(key)) {
    watch_.automatic = fixed_ == 0;
    watch_.threshold = options.real("freeze_threshold");
    watch_.window = options.integer("freeze_window");
    watch_.longest = static_cast<int64_t>(std::clamp(std::round(1 / (1 - betas.second)), 1.0, static_cast<double>(most)));
    watch_.soonest = static_cast<int64_t>(std::round(0.15 / (1 - betas.second)));
    watch_.patience = static_cast<int64_t>(std::round(0.3 / (1 - betas.second)));
  }

  // The part for programs, once its state is declared, and that of the sums. follows_ratios: trust ratios are frozen, too.
  const FreezeWatch& declare(StateDeclarer& state, const VarianceSums& sums, bool follows_ratios = false) {
    watch_.unseen_share = sums.unseen_share;
    watch_.follows_ratios = follows_ratios;
    watch_.declare(state);
    return watch_;
  }
  bool automatic() const { return watch_.automatic; }
  // Steps for which many unseen elements are waited for.
  int64_t patience() const { return watch_.patience; }
  // In plan: whether this dense step is the last. Tells so, once, where it was decided and not configured; and what it waits
  // for, once each.
  bool is_last(const Step& step, const Totals& totals) {
    if (!automatic()) return step.number >= fixed_;
    const double decided = *doubles(totals, watch_.decided);
    if (!(decided > 0 && static_cast<double>(step.number) >= decided)) {
      tell_waiting(step, totals);
      return false;
    }
    if (static_cast<double>(step.number) == decided && !told_) tell(step, totals);
    return told_ = true;
  }

 private:
  static constexpr int64_t most = 2000;  // of freeze_window

  static int64_t number(const Totals& totals, int slot) { return static_cast<int64_t>(*doubles(totals, slot)); }
  // "|v| at step 150 is 1.01 of that at step 145 (threshold 0.96 either way)"
  std::string variance_text(const Totals& totals) const {
    return "|v| at step " + std::to_string(number(totals, watch_.until)) + " is " +
           fixed_text(*doubles(totals, watch_.ratio), 4) + " of that at step " + std::to_string(number(totals, watch_.since)) +
           " (threshold " + number_text(watch_.threshold, 4) + " either way)";
  }
  std::string ratios_text(const Totals& totals) const {
    const std::string steps = std::to_string(watch_.eighth(number(totals, watch_.seen)));
    return "trust ratios of the last " + steps + " steps are " +
           fixed_text(std::exp(*doubles(totals, watch_.level_change)), 2) + " times those of the " + steps + " before";
  }

  void tell(const Step& step, const Totals& totals) const {
    if (step.rank != 0) return;
    std::string text = "the variance is stable: " + variance_text(totals);
    if (watch_.follows_ratios) text += ", " + ratios_text(totals);
    text += ", and the learning rate has not risen since step " + std::to_string(number(totals, watch_.risen)) + "; step " +
            std::to_string(step.number) + " is the last dense one";
    services_.log(LogLevel::info, optimizer_, text);
  }
  void tell_waiting(const Step& step, const Totals& totals) {
    const auto reason = static_cast<int>(number(totals, watch_.waits_for));
    if (step.rank != 0 || reason <= FreezeWatch::steps || told_reasons_[static_cast<size_t>(reason)]) return;
    if (reason == FreezeWatch::the_variance && number(totals, watch_.since) == 0) return;  // nothing was compared yet
    told_reasons_[static_cast<size_t>(reason)] = true;
    std::string text = "the freeze waits: ";
    if (reason == FreezeWatch::the_rate)
      text += "the learning rate rose in step " + std::to_string(number(totals, watch_.risen));
    if (reason == FreezeWatch::the_variance) text += variance_text(totals);
    if (reason == FreezeWatch::the_unseen)
      text += fixed_text(100 * *doubles(totals, watch_.unseen_share), 1) +
              " % of all elements have had no gradient yet, and they should be at most 10 %; it waits until step " +
              std::to_string(watch_.patience) + " at the latest";
    if (reason == FreezeWatch::the_ratios) text += ratios_text(totals) + ", and should be within 10 % of them";
    services_.log(LogLevel::info, optimizer_, text);
  }

  const Services services_;
  const std::string optimizer_;
  const int64_t fixed_;  // the last dense step; 0: automatic
  FreezeWatch watch_;
  bool told_ = false;
  std::array<bool, 6> told_reasons_{};
};

}  // namespace onebit
