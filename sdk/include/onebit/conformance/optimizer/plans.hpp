// SPDX-License-Identifier: Apache-2.0
// Cases of plan: what it may ask for, and that it answers the same whenever it is asked.
#pragma once

#include <string>

#include "onebit/conformance/optimizer/journey.hpp"

namespace onebit::conformance {

inline bool same_plan(const Plan& a, const Plan& b) {
  bool same = a.rounds().size == b.rounds().size && a.releases().size == b.releases().size &&
              a.acquires().size == b.acquires().size && a.apply == b.apply && a.reset_error == b.reset_error &&
              a.previous_in_consume == b.previous_in_consume && a.mean_in_apply == b.mean_in_apply;
  for (size_t r = 0; same && r < a.rounds().size; ++r)
    same = a.rounds()[r].kind == b.rounds()[r].kind && a.rounds()[r].of == b.rounds()[r].of &&
           a.rounds()[r].retain == b.rounds()[r].retain;
  for (size_t s = 0; same && s < a.releases().size; ++s) same = a.releases()[s] == b.releases()[s];
  for (size_t s = 0; same && s < a.acquires().size; ++s) same = a.acquires()[s] == b.acquires()[s];
  return same;
}

// Protects from: a session that breaks off in the middle of a run, at the first plan that can't be carried out.
inline void plans_soundly(const MakeOptimizer& make) {
  Traveller traveller(make);
  for (int64_t step = 1; step <= journey_steps; ++step) {
    const Plan& plan = traveller.step();
    const std::string where = "the plan of step " + std::to_string(step) + " ";
    int compressed = 0, retained = 0;
    for (const Plan::Round& round : plan.rounds()) {
      compressed += round.kind == RoundKind::compressed ? 1 : 0;
      retained += round.retain ? 1 : 0;
    }
    require(compressed <= 1, where + "has two compressed rounds");
    require(retained <= 1, where + "retains the means of two rounds");
    require(!plan.mean_in_apply || plan.apply, where + "wants a mean in apply, but no apply");
    for (const int32_t slot : plan.acquires())
      require(slot >= 0 && static_cast<size_t>(slot) < traveller.host.state.slots.size() &&
                  traveller.host.state.slots[static_cast<size_t>(slot)].later,
              where + "acquires slot " + std::to_string(slot) + ", which was not declared to begin later");
    for (const int32_t slot : plan.releases())
      require(slot >= 0 && static_cast<size_t>(slot) < traveller.host.state.slots.size(),
              where + "releases slot " + std::to_string(slot) + ", which was not declared");
  }
}

// Protects from: ranks that plan different steps, because one of them was asked once more than the others: for a step that was
// skipped, or to foretell what the run will cost.
inline void plan_is_pure(const MakeOptimizer& make) {
  Traveller one(make), other(make);
  other.host.around = [&](TileHost::Doing doing, const Tile*, const std::function<void()>& call) {
    if (doing != TileHost::Doing::plan) return call();
    Step later = other.host.under_way();
    later.number += 3;
    Plan ignored, again;
    other.optimizer->plan(later, other.host.totals(), ignored);
    call();
    other.optimizer->plan(other.host.under_way(), other.host.totals(), again);
    require(same_plan(again, other.host.plan()),
            "plan answered something else when it was asked again for step " + std::to_string(other.host.number));
  };
  require_same_way(one, other, "plan, asked for other steps in between, changed what follows", [&] { other.step(); });
}

}  // namespace onebit::conformance
