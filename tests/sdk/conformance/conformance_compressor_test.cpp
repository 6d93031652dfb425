// SPDX-License-Identifier: Apache-2.0
// Wrong compressors are caught by the compressor suite, each by the case that is there for it, in words that help.
#include <doctest/doctest.h>

#include <memory>

#include "failing_cases.hpp"
#include "onebit/conformance/compressor.hpp"
#include "wrong_compressors.hpp"

namespace onebit::test {
namespace {

using conformance::compressor_cases;

void check_caught(Flaw flaw, const Catch& expected, Form form = {}) {
  CAPTURE(expected.by);
  check_caught(failing(
                   compressor_cases, [=] { return std::make_unique<Bytes>(flaw, form); },
                   expected.races ? "batches_at_once_do_not_matter" : ""),
               expected);
}

std::set<std::string> silent(Form form) {
  std::set<std::string> cases;
  for (const auto& one : compressor_cases) try {
      one.run([form] { return std::make_unique<Bytes>(Flaw::none, form); });
    } catch (const conformance::NotApplicable&) {
      cases.insert(one.name);
    }
  return cases;
}

}  // namespace

TEST_CASE("compressor suite: what is right passes, and every case has something to say of it") {
  CHECK(silent({}) == std::set<std::string>{"draws_from_step_rank_and_key", "folds_in_block_order"});
  CHECK(silent({false, true}) == std::set<std::string>{"draws_from_step_rank_and_key"});
  CHECK(silent({true, false}) ==
        std::set<std::string>{"errors_keep_what_is_not_sent", "folds_in_block_order", "new_errors_may_be_the_errors"});
  for (const auto& item : failing(compressor_cases, [] { return std::make_unique<Vote>(); }))
    FAIL_CHECK(item.first, ": ", item.second);
}

TEST_CASE("compressor suite: what is described wrongly is caught") {
  check_caught(Flaw::describes_another, {"describes_itself_soundly", "describe answered something else later", {}, true});
  check_caught(Flaw::odd_block, {"describes_itself_soundly", "blocks of 100 elements, expected a multiple of 32"});
  check_caught(Flaw::odd_size, {"payload_sizes_are_exact", "payload_size(1) is 5, expected a multiple of 4"});
  check_caught(Flaw::payload_off_by_4, {"payload_sizes_are_exact", "encode of 1 elements wrote beyond the 8 bytes"});
  check_caught(Flaw::padding_unwritten,
               {"payloads_are_written_whole", "byte 5 of the payload of 1 elements (8 bytes) is what was there before"});
}

TEST_CASE("compressor suite: what is read or written where it must not be is caught") {
  check_caught(Flaw::error_beyond_end,
               {"stays_within_its_blocks", "encode wrote beside a block of 1 elements, in its new errors"});
  check_caught(
      Flaw::decodes_beyond_end,
      {"stays_within_its_blocks", "decode wrote beside a block of 1 elements, in its out", {"survives_hostile_payloads"}});
  check_caught(Flaw::reads_beyond_end, {"reads_within_its_blocks", "what is beside block 0 (1 elements) in memory", {}, true});
  check_caught(Flaw::values_changed, {"leaves_its_inputs_alone", "encode changed the values", {}, true});
  check_caught(Flaw::trusts_payload, {"survives_hostile_payloads", "decode of a payload of random bytes for 1 elements"});
}

TEST_CASE("compressor suite: identities that do not hold are caught") {
  check_caught(Flaw::error_shrinks,
               {"errors_keep_what_is_not_sent", "new_error is not value + error - decoded: at element 0 of"});
  check_caught(Flaw::errors_overwritten,
               {"new_errors_may_be_the_errors", "with new_errors = errors", {"nothing_is_lost_for_ever"}});
  check_caught(Flaw::add_ignored, {"decode_weighs_and_adds", "adding to"});
  check_caught(Flaw::weight_ignored, {"decode_weighs_and_adds", "decode with weight 0.25 gave"});
}

TEST_CASE("compressor suite: bits that depend on what they must not are caught") {
  check_caught(Flaw::state_in_codec, {"codes_the_same_again", "coded again by the same object, differ", {}, true});
  check_caught(Flaw::scale_of_batch, {"batches_do_not_matter", "many batches of one block, the last first", {}, true});
  check_caught(Flaw::shared_member, {"batches_at_once_do_not_matter", "on several threads at once differ"});
  check_caught(Flaw::noise_of_key_alone, {"draws_from_step_rank_and_key", "but the same ones in every step"}, {true, false});
  check_caught(Flaw::fold_forgets, {"folds_in_block_order", "folding nine blocks is not", {}, true}, {false, true});
}

TEST_CASE("compressor suite: wrong numbers, and information that is lost, are caught") {
  check_caught(Flaw::scale_overflows, {"finite_stays_finite", "values of about 1e+30"});
  check_caught(Flaw::scale_of_batch, {"nan_stays_in_its_block", "in block 2 changed block 3", {}, true});
  check_caught(Flaw::biased, {"nothing_is_lost_for_ever", "should be unbiased: the mean over 2000 steps"}, {true, false});
}

}  // namespace onebit::test
