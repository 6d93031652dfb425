// SPDX-License-Identifier: Apache-2.0
// Wrong communicators are caught by the communicator suite, each by the case that is there for it, in words that help.
#include <doctest/doctest.h>

#include <chrono>
#include <memory>

#include "failing_cases.hpp"
#include "onebit/conformance/run.hpp"
#include "wrong_communicators.hpp"

namespace onebit::test {
namespace {

using conformance::MakeCommunicator;
using namespace std::chrono_literals;

const conformance::Subject& threads() {
  static Registry registry;
  static const PluginInfo& plugin = registry.load(Registry::default_folder() / "onebit_plugin_threads.so");
  static const conformance::Subject subject(registry, plugin.components.at(0), Manifest::parse("", "test.toml", "."));
  return subject;
}
MakeCommunicator around(Fault fault) {
  threads();
  return [fault](const onebit_rendezvous& at) { return std::make_unique<Around>(threads().communicator(at), fault); };
}

// What the case says of ranks that are threads; "": nothing.
std::string said(const std::string& name, Fault fault, std::chrono::nanoseconds limit = conformance::patience) {
  for (const auto& one : conformance::communicator_cases) try {
      if (one.name == name) return conformance::run_on_threads(around(fault), one.run, limit), "";
    } catch (const conformance::Unmet& e) {
      return e.what();
    }
  FAIL("there is no case ", name);
  return "";
}
void check_caught(Fault fault, const std::string& name, const std::string& saying) {
  CAPTURE(name);
  const std::string text = said(name, fault);
  CHECK(text != "");
  CHECK_MESSAGE(text.find(saying) != std::string::npos, "'", text, "'");
  MESSAGE(text);
  CHECK(said(name, Fault::none) == "");
}

std::string said_of_killed(ByStore::Fault fault, std::chrono::seconds limit = 20s) {
  try {
    conformance::KilledRank([fault](const onebit_rendezvous& at) { return std::make_unique<ByStore>(at, fault); }, limit)
        .check();
    return "";
  } catch (const conformance::Unmet& e) {
    return e.what();
  }
}

}  // namespace

TEST_CASE("communicator suite: wrong data is caught") {
  check_caught(Fault::rank_of_another, "rank_and_size", "ranks are not 0 to n-1");
  check_caught(Fault::sum_in_other_order, "all_reduce_order", "did not add in the order of ranks");
  check_caught(Fault::gap_written, "all_gather_sizes", "rank 0 of 1: all_gather: bytes between parts were written");
  check_caught(Fault::key_ignored, "split_odd_even", "split gave another rank or size");
  check_caught(Fault::single_is_none, "split_nested", "a color of its own must give a communicator of 1 rank");
  check_caught(Fault::long_sum_cut, "all_reduce_sizes", "all_reduce of 1048579 elements gave other values");
  check_caught(Fault::bytes_saturate, "all_reduce_types", "gave other values");
  check_caught(Fault::in_place_forgotten, "all_reduce_in_place", "gave other values");
  check_caught(Fault::uneven_gather, "all_gather_uneven", "has other bytes");
  check_caught(Fault::gather_in_place_forgotten, "all_gather_in_place", "has other bytes");
  check_caught(Fault::long_exchange_cut, "all_to_all_sizes", "all_to_all: the part of rank 0 has other bytes");
  check_caught(Fault::uneven_exchange, "all_to_all_uneven", "has other bytes");
  check_caught(Fault::root_zero, "broadcast_every_root", "elements has other values");
}

TEST_CASE("communicator suite: limits of what may be under way are caught") {
  check_caught(Fault::one_at_a_time, "many_in_flight", "three collectives are under way already");
  check_caught(Fault::late_is_lost, "racing_ranks", "a message came too late");
}

TEST_CASE("communicator suite: what comes too early is caught") {
  check_caught(Fault::barrier_passes, "barrier_holds", "a rank left the barrier before another came");
  check_caught(Fault::done_too_early, "test_until_done", "test answered true before another rank had brought its part");
}

TEST_CASE("communicator suite: errors that are none, or others, are caught") {
  check_caught(Fault::tag_ignored, "mismatched_tag", "another tag: an error was expected, but there was none");
  const char* const mismatches[] = {"mismatched_operation", "mismatched_root", "mismatched_reduction", "mismatched_size",
                                    "mismatched_parts"};
  for (const char* name : mismatches) check_caught(Fault::mismatch_swallowed, name, "an error was expected");
  check_caught(Fault::wrong_part_mended, "refused_call", "'negative size' is missing in the error");
  check_caught(Fault::unknown_sum_taken, "unsupported_reduction", "an unknown reduction: an error was expected");
  check_caught(Fault::code_of_timeout, "missing_rank", "another code: ");
  check_caught(Fault::abort_without_reason, "abort_ends_waits", "'the data ran out' is missing in the error");
}

TEST_CASE("communicator suite: ranks that hang are left behind, and said so") {
  const std::string text = said("destroyed_peer", Fault::peer_waited_for, 500ms);
  CHECK_MESSAGE(text == "a group of 2 ranks has not come to an end after 0.5 s", text);
  std::this_thread::sleep_for(6s);  // they come to an end here, before the program does
}

TEST_CASE("communicator suite: a killed rank: who is told passes, who waits, goes on or dies is caught") {
  CHECK(said_of_killed(ByStore::Fault::none) == "");
  CHECK(said_of_killed(ByStore::Fault::waits_for_ever, 2s) ==
        "the process of rank 2 of 3 was killed, and rank 0 still waits for it after 2 s");
  CHECK(said_of_killed(ByStore::Fault::sums_without_it) ==
        "the process of rank 2 of 3 was killed: rank 0 got a sum all the same");
  CHECK(said_of_killed(ByStore::Fault::dies_with_it) == "the process of rank 2 of 3 was killed: rank 0 died, too");
}

TEST_CASE("runner: what can't be made or used is told, and not tried") {
  Registry registry;
  const PluginInfo& adam = registry.load(Registry::default_folder() / "onebit_plugin_adam.so");
  const auto results = conformance::run(registry, adam, Manifest::parse("[optimizer]\nepsilon = 1", "mine.toml", "."));
  REQUIRE(results.size() == 1);
  CHECK(results[0].outcome == conformance::Outcome::failed);
  CHECK(results[0].name == "takes_its_options");
  CHECK_MESSAGE(results[0].text.find("mine.toml:2:1") != std::string::npos, results[0].text);

  PluginInfo elsewhere = adam;
  elsewhere.unavailable = "there is no GPU";
  const auto skipped = conformance::run(registry, elsewhere, Manifest::parse("", "mine.toml", "."));
  REQUIRE(skipped.size() == 1);
  CHECK(skipped[0].outcome == conformance::Outcome::skipped);
  CHECK(skipped[0].text == "not available here: there is no GPU");
}

TEST_CASE("runner: who is told before each case knows what ran when it crashed") {
  Registry registry;
  const PluginInfo& adam = registry.load(Registry::default_folder() / "onebit_plugin_adam.so");
  std::vector<std::string> begun;
  const auto results = conformance::run(registry, adam, Manifest::parse("", "mine.toml", "."),
                                        [&](const std::string& component, const std::string& name) {
                                          CHECK(component == "optimizer adam");
                                          begun.push_back(name);
                                        });
  REQUIRE(begun.size() == results.size());
  for (size_t i = 0; i < begun.size(); ++i) CHECK(results[i].name == begun[i]);
}

}  // namespace onebit::test
