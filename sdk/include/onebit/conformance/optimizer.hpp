// SPDX-License-Identifier: Apache-2.0
// What every optimizer must do, written once for all of them. A case makes the optimizers it needs, and throws Unmet where it
// finds something else than it expects, or NotApplicable where it has nothing to say. Each says what it protects from.
//
//   #define CASE(name) TEST_CASE("mine: " #name) { onebit::conformance::name([] { return std::make_unique<Mine>(...); }); }
//   ONEBIT_OPTIMIZER_CASES(CASE)
//
// run.hpp runs them over a library, doctest.hpp makes test cases of them. An author who has the formula adds matches_reference
// (optimizer/reference.hpp).
#pragma once

#include "onebit/conformance/optimizer/declared.hpp"
#include "onebit/conformance/optimizer/descent.hpp"
#include "onebit/conformance/optimizer/exempt.hpp"
#include "onebit/conformance/optimizer/footprints.hpp"
#include "onebit/conformance/optimizer/numbers.hpp"
#include "onebit/conformance/optimizer/plans.hpp"
#include "onebit/conformance/optimizer/reference.hpp"
#include "onebit/conformance/optimizer/replicas.hpp"
#include "onebit/conformance/optimizer/resumed.hpp"
#include "onebit/conformance/optimizer/same_bits.hpp"

// clang-format off
#define ONEBIT_OPTIMIZER_CASES(X) \
  X(declares_sound_state) X(declares_the_same_again) X(plans_soundly) X(plan_is_pure) \
  X(plan_writes_nothing) X(produce_writes_message_alone) X(consume_stays_in_its_tile) X(combine_writes_totals_alone) \
  X(apply_stays_in_its_tile) X(leaves_inputs_alone) \
  X(same_calls_same_bits) X(any_tiling_same_bits) X(tiles_at_once_same_bits) X(gradient_scale_everywhere) \
  X(produces_the_same_twice) X(skipped_steps_leave_no_trace) \
  X(all_state_is_declared) X(released_state_is_not_read) X(starts_at_any_step) \
  X(replicas_agree) X(sync_brings_ranks_together) X(anchor_is_where_ranks_met) \
  X(exempt_tensors_lose_nothing) X(exempt_tensors_follow_the_mean_gradient) \
  X(odd_sizes) X(every_element_moves) X(zero_gradients_are_harmless) X(extreme_gradients_are_harmless) X(nan_stays_in_its_tensor) \
  X(zero_learning_rate_moves_nothing) X(descends) X(descends_through_signs)
// clang-format on

namespace onebit::conformance {

struct OptimizerCase {
  const char* name;
  void (*run)(const MakeOptimizer& make);
};

#define ONEBIT_CASE(name) {#name, name},
inline const OptimizerCase optimizer_cases[] = {ONEBIT_OPTIMIZER_CASES(ONEBIT_CASE)};
#undef ONEBIT_CASE

}  // namespace onebit::conformance
