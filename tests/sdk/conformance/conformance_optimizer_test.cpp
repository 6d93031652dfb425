// SPDX-License-Identifier: Apache-2.0
// Wrong optimizers are caught by the optimizer suite, each by the case that is there for it, in words that help.
#include <doctest/doctest.h>

#include <memory>

#include "failing_cases.hpp"
#include "onebit/conformance/optimizer.hpp"
#include "wrong_optimizers.hpp"

namespace onebit::test {
namespace {

using conformance::optimizer_cases;

void check_caught(Wrong wrong, const Catch& expected) {
  CAPTURE(expected.by);
  check_caught(failing(
                   optimizer_cases, [wrong] { return std::make_unique<Momentum>(wrong); },
                   expected.races ? "tiles_at_once_same_bits" : ""),
               expected);
}
void check_caught(LocalSteps::Wrong wrong, const Catch& expected) {
  CAPTURE(expected.by);
  check_caught(failing(optimizer_cases, [wrong] { return std::make_unique<LocalSteps>(wrong); }), expected);
}

}  // namespace

TEST_CASE("optimizer suite: what is right passes, and every case has something to say of it") {
  std::set<std::string> silent;
  for (const auto& one : optimizer_cases) try {
      one.run([] { return std::make_unique<Momentum>(Wrong::nothing); });
    } catch (const conformance::NotApplicable&) {
      silent.insert(one.name);
    }
  CHECK(silent == std::set<std::string>{"anchor_is_where_ranks_met"});
  for (const auto& item : failing(optimizer_cases, [] { return std::make_unique<LocalSteps>(LocalSteps::Wrong::nothing); }))
    FAIL_CHECK(item.first, ": ", item.second);
}

TEST_CASE("optimizer suite: what is declared and planned wrongly is caught") {
  check_caught(Wrong::name_twice, {"declares_sound_state", "'momentum' is declared twice"});
  check_caught(Wrong::names_change, {"declares_the_same_again", "slot 0 is 'momentum"});
  check_caught(Wrong::retains_twice, {"plans_soundly", "the plan of step 1 retains the means of two rounds"});
  check_caught(Wrong::plan_counts_calls, {"plan_is_pure", "plan answered something else when it was asked again", {}, true});
}

TEST_CASE("optimizer suite: what is written where it must not be is caught") {
  check_caught(Wrong::plan_writes, {"plan_writes_nothing", "plan, in step 1, wrote state 'size'[0], which it must not"});
  check_caught(Wrong::produce_writes_state, {"produce_writes_message_alone", "in step 6, wrote state 'trail' of t1[0]"});
  check_caught(Wrong::consume_leaves_tile,
               {"consume_stays_in_its_tile", "wrote state 'sums'", {"any_tiling_same_bits"}, false, true});
  check_caught(Wrong::apply_leaves_tile, {"apply_stays_in_its_tile", "wrote state 'size'[1]", {}, false, true});
  check_caught(Wrong::combine_moves_parameter,
               {"combine_writes_totals_alone", "combine, in step 1, wrote parameter t5", {}, true, true});
  check_caught(Wrong::gradient_written, {"leaves_inputs_alone", "wrote the gradient of t1[0]"});
}

TEST_CASE("optimizer suite: bits that depend on what they must not are caught") {
  check_caught(Wrong::random, {"same_calls_same_bits", "two objects that were called alike differ: after step 1", {}, true});
  check_caught(Wrong::tile_size_matters, {"any_tiling_same_bits", "with tiles of other sizes", {"tiles_at_once_same_bits"}});
  check_caught(Wrong::tiles_share_member, {"tiles_at_once_same_bits", "on several threads at once"});
  check_caught(Wrong::scale_ignored, {"gradient_scale_everywhere", "gradient_scale 0.5 give another result: after step 6"});
  check_caught(Wrong::produce_adds, {"produces_the_same_twice", "in step 6, produce wrote another message"});
  check_caught(Wrong::produce_remembers, {"skipped_steps_leave_no_trace", "left something behind", {}, true});
}

TEST_CASE("optimizer suite: state that is hidden, or read after it is gone, is caught") {
  check_caught(Wrong::steps_in_object, {"all_state_is_declared", "took the run over with its state"});
  check_caught(Wrong::reads_released, {"released_state_is_not_read", "what is left in released state ('momentum')", {}, true});
  check_caught(Wrong::late_start, {"starts_at_any_step", "started with step 1000", {}, true});
}

TEST_CASE("optimizer suite: ranks that part are caught") {
  check_caught(Wrong::local_gradient,
               {"replicas_agree", "rank 1 of 2 has another parameter t1 than rank 0", {"sync_brings_ranks_together"}, true});
  check_caught(Wrong::exempt_depends_on_others, {"exempt_tensors_lose_nothing", "changed an exempt one: after step 7"});
  check_caught(Wrong::exempt_votes, {"exempt_tensors_follow_the_mean_gradient", "an exempt tensor moved by up to"});
  check_caught(LocalSteps::Wrong::deaf_to_sync, {"sync_brings_ranks_together", "step 7 has ONEBIT_STEP_SYNC"});
  check_caught(LocalSteps::Wrong::anchor_stays, {"anchor_is_where_ranks_met", "after the local step", {}, true});
}

TEST_CASE("optimizer suite: wrong numbers are caught") {
  check_caught(Wrong::one_element, {"odd_sizes", "t0[0] of 1 is", {}, true});
  check_caught(Wrong::tail_left_out, {"every_element_moves", "element 0 of a tensor of 1 has not moved"});
  check_caught(Wrong::zero_divided, {"zero_gradients_are_harmless", "whose gradients were all zero", {}, true});
  check_caught(Wrong::fourth_power, {"extreme_gradients_are_harmless", "with gradients of about 1e+15"});
  check_caught(Wrong::nan_leaks, {"nan_stays_in_its_tensor", "a NaN among the gradients of t4 at step 3"});
  check_caught(Wrong::moves_always, {"zero_learning_rate_moves_nothing", "parameters moved in step 1"});
}

TEST_CASE("optimizer suite: what does not optimize is caught") {
  check_caught(Wrong::uphill, {"descends", "on a convex quadratic", {"descends_through_signs"}});
  check_caught(Wrong::offset_in_message, {"descends_through_signs", "compressed to signs with error feedback"});
}

TEST_CASE("an author's reference is compared with the optimizer, step by step") {
  const auto reference = [m = conformance::Vectors()](conformance::Vectors& p, const conformance::Vectors& g,
                                                      const Group& group, int64_t) mutable {
    m.resize(p.size());
    for (size_t t = 0; t < p.size(); ++t) {
      m[t].resize(p[t].size());
      for (size_t i = 0; i < p[t].size(); ++i) {
        m[t][i] = 0.9 * m[t][i] + 0.1 * g[t][i];
        p[t][i] -= group.learning_rate * m[t][i];
        p[t][i] -= group.learning_rate * group.weight_decay * p[t][i];
      }
    }
  };
  const auto make = [](Wrong wrong) { return [wrong] { return std::make_unique<Momentum>(wrong); }; };
  conformance::matches_reference(make(Wrong::nothing), reference, 1e-5);
  CHECK_THROWS_WITH_AS(conformance::matches_reference(make(Wrong::uphill), reference, 1e-5),
                       doctest::Contains("of the reference"), conformance::Unmet);
}

}  // namespace onebit::test
