// SPDX-License-Identifier: Apache-2.0
// What every communicator must do, written once for all of them: each case is what one rank does, and runs on every rank, be it
// a thread or a process. A case throws Unmet where it finds something else than it expects.
//
//   #define RUN(name) TEST_CASE("mine: " #name) { ... on every rank: conformance::name(its communicator) ... }
//   ONEBIT_COMMUNICATOR_CASES(RUN)
//
// Cases that break a communicator do so to one that they split off; all ranks still have their own afterwards.
#pragma once

#include "onebit/conformance/communicator/bytes.hpp"
#include "onebit/conformance/communicator/failures.hpp"
#include "onebit/conformance/communicator/mismatches.hpp"
#include "onebit/conformance/communicator/numbers.hpp"
#include "onebit/conformance/communicator/order.hpp"
#include "onebit/conformance/communicator/split.hpp"

// clang-format off
#define ONEBIT_COMMUNICATOR_CASES(X) \
  X(rank_and_size) X(all_reduce_sizes) X(all_reduce_types) X(all_reduce_order) X(all_reduce_in_place) \
  X(all_gather_sizes) X(all_gather_uneven) X(all_gather_in_place) X(all_to_all_sizes) X(all_to_all_uneven) \
  X(broadcast_every_root) X(barrier_holds) X(test_until_done) X(many_in_flight) X(racing_ranks) \
  X(split_odd_even) X(split_nested) \
  X(mismatched_operation) X(mismatched_tag) X(mismatched_root) X(mismatched_reduction) X(mismatched_size) \
  X(mismatched_parts) X(refused_call) X(unsupported_reduction) \
  X(missing_rank) X(abort_ends_waits) X(destroyed_peer)
// clang-format on

namespace onebit::conformance {

struct CommunicatorCase {
  const char* name;
  void (*run)(Rank& self);
};

#define ONEBIT_CASE(name) {#name, name},
inline const CommunicatorCase communicator_cases[] = {ONEBIT_COMMUNICATOR_CASES(ONEBIT_CASE)};
#undef ONEBIT_CASE

}  // namespace onebit::conformance
