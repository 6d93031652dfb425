// SPDX-License-Identifier: Apache-2.0
// What every compressor must do, written once for all of them. A case makes the compressors it needs, and throws Unmet where it
// finds something else than it expects, or NotApplicable where it has nothing to say. Each says what it protects from.
//
//   #define CASE(name) TEST_CASE("mine: " #name) { onebit::conformance::name([] { return std::make_unique<Mine>(...); }); }
//   ONEBIT_COMPRESSOR_CASES(CASE)
//
// run.hpp runs them over a library, doctest.hpp makes test cases of them.
#pragma once

#include "onebit/conformance/compressor/described.hpp"
#include "onebit/conformance/compressor/identity.hpp"
#include "onebit/conformance/compressor/memory.hpp"
#include "onebit/conformance/compressor/same_pieces.hpp"
#include "onebit/conformance/compressor/values.hpp"

// clang-format off
#define ONEBIT_COMPRESSOR_CASES(X) \
  X(describes_itself_soundly) X(payload_sizes_are_exact) X(payloads_are_written_whole) \
  X(stays_within_its_blocks) X(reads_within_its_blocks) X(leaves_its_inputs_alone) X(survives_hostile_payloads) \
  X(errors_keep_what_is_not_sent) X(new_errors_may_be_the_errors) X(decode_weighs_and_adds) \
  X(codes_the_same_again) X(batches_do_not_matter) X(batches_at_once_do_not_matter) X(draws_from_step_rank_and_key) \
  X(folds_in_block_order) X(finite_stays_finite) X(nan_stays_in_its_block) X(nothing_is_lost_for_ever)
// clang-format on

namespace onebit::conformance {

struct CompressorCase {
  const char* name;
  void (*run)(const MakeCompressor& make);
};

#define ONEBIT_CASE(name) {#name, name},
inline const CompressorCase compressor_cases[] = {ONEBIT_COMPRESSOR_CASES(ONEBIT_CASE)};
#undef ONEBIT_CASE

}  // namespace onebit::conformance
