// SPDX-License-Identifier: Apache-2.0
// What a step that begins early costs beside another: memory, as `onebit check` tells it; bytes on the wire, none but for a
// second agreement; no allocation. And what it leaves is what the other leaves, files included.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <thread>

#include "support/allocation_counter.hpp"
#include "support/gradients.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors three_tensors = {std::vector<float>(40'000), std::vector<float>(30'000), std::vector<float>(10)};

void take_step(Session& session, const std::vector<const float*>& gradients, bool early) {
  if (!early) return static_cast<void>(session.step(gradients));
  session.begin();
  for (size_t t = gradients.size(); t-- > 0;) session.ready(t, gradients[t]);
  session.step();
}

const std::string small_buckets = "[exchange]\nbucket_bytes = 30000\n";

struct Spent {
  Footprint footprint;
  Traffic traffic;
};

// Of the rank that holds most.
Spent spend(const std::string& toml, bool early) {
  std::vector<Spent> found(2);
  run_sessions(2, toml, three_tensors, [&](Rank rank) {
    for (int64_t step = 1; step <= 8; ++step) take_step(rank.session, pointers(noisy(three_tensors, step, rank.number)), early);
    found[static_cast<size_t>(rank.number)] = {rank.session.footprint(), rank.session.traffic()};
  });
  return found[0].footprint.held() > found[1].footprint.held() ? found[0] : found[1];
}

std::atomic<int64_t> allocated{0};

int64_t allocations_of_step(Rank rank, const std::vector<const float*>& gradients) {
  rank.session.communicator().barrier(Call());
  if (rank.number == 0) allocated = -allocations();
  rank.session.communicator().barrier(Call());
  take_step(rank.session, gradients, true);
  rank.session.communicator().barrier(Call());
  if (rank.number == 0) allocated += allocations();
  rank.session.communicator().barrier(Call());
  return allocated;
}

}  // namespace

TEST_CASE("overlap: memory as check tells it, and the same bytes sent but for a second agreement") {
  Tensors own = three_tensors;
  const std::vector<Parameter> shapes = parameters_of(own);
  for (const std::string message : {"momentum", "update"}) {
    CAPTURE(message);
    const std::string errors_in = message == "update" ? "error_dtype = \"bf16\"\n" : "";
    const std::string toml = onebit_adam("freeze_step = 3\nmessage = \"" + message + "\"\n", small_buckets + errors_in);
    const Cost cost = cost_of(plugins(), configure(toml), shapes, 2);
    const Spent plain = spend(toml, false), early = spend(toml, true);
    const auto errors = [](const Footprint& footprint) { return footprint.worker_error + footprint.server_error; };
    CHECK(errors(early.footprint) == 2 * errors(plain.footprint));
    const uint64_t more =
        early.footprint.held() + early.footprint.exchange_buffers - plain.footprint.held() - plain.footprint.exchange_buffers;
    const double told = cost.overlap_state * static_cast<double>(cost.parameters);
    CHECK(static_cast<double>(more) <= 1.001 * told);  // but for alignment
    CHECK(static_cast<double>(more) >= 0.9 * told);
    CHECK(early.traffic.dense_bytes == plain.traffic.dense_bytes);
    CHECK(early.traffic.compressed_bytes == plain.traffic.compressed_bytes);
    CHECK(early.traffic.dense_steps == plain.traffic.dense_steps);
    CHECK(early.traffic.agreement_bytes > plain.traffic.agreement_bytes);
    CHECK(early.traffic.agreement_bytes <= 2 * plain.traffic.agreement_bytes);
    const std::string off = toml + "[session]\noverlap = false\n";
    CHECK(cost_of(plugins(), configure(off), shapes, 2).overlap_state == 0);
    CHECK(errors(spend(off, true).footprint) == errors(plain.footprint));
  }
}

TEST_CASE("overlap: the same files are saved, and a run goes on from them") {
  const ScratchFolder at_once, early;
  for (const bool begins : {false, true})
    run_sessions(2, onebit_adam("freeze_step = 3\n", small_buckets), three_tensors, [&](Rank rank) {
      const std::filesystem::path& root = begins ? early.path() : at_once.path();
      for (int64_t step = 1; step <= 6; ++step)
        take_step(rank.session, pointers(noisy(three_tensors, step, rank.number)), begins);
      rank.session.save(root);
    });
  const auto expected = tensors_saved_in(at_once.path());
  CHECK(expected.size() >= 2);
  CHECK(tensors_saved_in(early.path()) == expected);
  // what was saved by either kind of step is gone on from by the other
  const auto go_on = [&](const ScratchFolder& from, bool begins) {
    return run_sessions(2, onebit_adam("freeze_step = 3\n", small_buckets), three_tensors, [&](Rank rank) {
      rank.session.load(from.path());
      for (int64_t step = 7; step <= 12; ++step)
        take_step(rank.session, pointers(noisy(three_tensors, step, rank.number)), begins);
    });
  };
  CHECK(go_on(early, false) == go_on(at_once, true));
}

TEST_CASE("overlap: a step allocates nothing, except the first two of each stage" * doctest::skip(!allocations_are_counted)) {
  std::vector<int64_t> found(15);
  run_sessions(2, onebit_adam("freeze_step = 6\nrefresh = 0\n", small_buckets), three_tensors, [&](Rank rank) {
    Tensors gradients = noisy(three_tensors, 1, rank.number);
    for (std::vector<float>& tensor : gradients)
      for (float& g : tensor) g = g * g + 0.01F;
    for (size_t step = 1; step <= 14; ++step) {
      const int64_t made = allocations_of_step(rank, pointers(gradients));
      if (rank.number == 0) found[step] = made;
    }
  });
  CHECK(found[7] > 0);
  for (const size_t step : {3U, 4U, 5U, 6U, 9U, 10U, 11U, 12U, 13U, 14U}) {
    CAPTURE(step);
    CHECK(found[step] == 0);
  }
}

TEST_CASE("overlap: what a step has sent that is then skipped belongs to no stage") {
  const std::string toml = onebit_adam("freeze_step = 3\n", small_buckets);
  std::vector<Traffic> found;
  for (const bool begins : {false, true})
    run_sessions(2, toml, three_tensors, [&](Rank rank) {
      for (int64_t step = 1; step <= 8; ++step) {
        Tensors gradients = noisy(three_tensors, step, rank.number);
        if (step == 2 || step == 7) gradients[0][5] = INFINITY;
        take_step(rank.session, pointers(gradients), begins);
      }
      if (rank.number == 0) found.push_back(rank.session.traffic());
    });
  CHECK(found[0].skipped_steps == 2);
  CHECK(found[1].dense_bytes == found[0].dense_bytes);
  CHECK(found[1].compressed_bytes == found[0].compressed_bytes);
  CHECK(found[1].other_bytes > found[0].other_bytes);
}

TEST_CASE("overlap: a step's waiting is its own, also where steps of both kinds follow each other") {
  const auto seconds = [](const std::string& name) {
    for (const MetricSnapshot& metric : plugins().metrics().snapshot())
      if (metric.name == name) return metric.value;
    return 0.0;
  };
  const double waited = seconds("session.wait_seconds"), took = seconds("session.step_seconds");
  run_sessions(2, onebit_adam("freeze_step = 3\n", small_buckets), three_tensors, [&](Rank rank) {
    if (rank.number == 1) std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the other waits, once
    for (int64_t step = 1; step <= 40; ++step)
      take_step(rank.session, pointers(noisy(three_tensors, step, rank.number)), step % 2 == 0);
  });
  CHECK(seconds("session.wait_seconds") - waited <= seconds("session.step_seconds") - took);
}
