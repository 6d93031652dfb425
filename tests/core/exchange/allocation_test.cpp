// SPDX-License-Identifier: Apache-2.0
// No allocation in a step, except the first of its kind; and what a session holds a parameter.
#include <doctest/doctest.h>

#include <atomic>

#include "support/allocation_counter.hpp"
#include "support/gradients.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

std::atomic<int64_t> allocated{0};

// Runs a step on all ranks between two barriers and answers what all of them allocated meanwhile.
int64_t allocations_of_step(Rank rank, const std::vector<const float*>& gradients) {
  const uint64_t peak = rank.session.footprint().peak;
  rank.session.communicator().barrier(Call());
  if (rank.number == 0) allocated = -allocations();
  rank.session.communicator().barrier(Call());
  rank.session.step(gradients);
  rank.session.communicator().barrier(Call());
  if (rank.number == 0) allocated += allocations();
  rank.session.communicator().barrier(Call());
  return allocated + static_cast<int64_t>(rank.session.footprint().peak - peak);
}

}  // namespace

TEST_CASE("a step allocates nothing, except the first of each stage, the freeze, and the first that refreshes the variance" *
          doctest::skip(!allocations_are_counted)) {
  const Tensors model = {std::vector<float>(50'000), std::vector<float>(10)};
  const ScratchFolder folder;
  const std::string trace = "trace = \"" + (folder / "trace.json").string() + "\"\n";
  for (const std::string& tables : std::initializer_list<std::string>{
           "", "[session]\nthreads = 2\nclip_norm = 1.0\n" + trace,
           "[exchange]\nbucket_bytes = 30000\ndense_dtype = \"fp16\"\nerror_dtype = \"bf16\"\n",
           "machines = 2\n[exchange]\nbucket_bytes = 30000\ntopology = \"hierarchical\"\n"}) {  // the first of [communicator]
    CAPTURE(tables);
    const int ranks = tables.find("hierarchical") == std::string::npos ? 2 : 4;
    std::vector<int64_t> found(29), sent(29);
    run_sessions(ranks, onebit_adam("freeze_step = 6\n", tables), model, [&](Rank rank) {
      Tensors gradients = noisy(model, 1, rank.number);
      for (float& g : gradients[0]) g = g * g + 0.01F;  // an element without a gradient would be told of at the freeze
      for (size_t step = 1; step <= 28; ++step) {
        const uint64_t before = rank.session.traffic().compressed_bytes;
        const int64_t made = allocations_of_step(rank, pointers(gradients));
        if (rank.number != 0) continue;
        found[step] = made;
        sent[step] = static_cast<int64_t>(rank.session.traffic().compressed_bytes - before);
      }
    });
    CHECK(found[7] > 0);  // the compressed stage begins: the count can tell
    for (const size_t refreshed : {16U, 26U}) CHECK(sent[refreshed] > 5 * sent[refreshed - 1]);
    for (size_t step = 2; step < found.size(); ++step) {
      CAPTURE(step);
      if (step != 6 && step != 7 && step != 16) CHECK(found[step] == 0);
    }
  }
}

TEST_CASE("state, errors and retained mean take at most 10.5 bytes a parameter in the compressed stage with 2 ranks") {
  const Tensors model = {std::vector<float>(4'000'000)};
  const Tensors gradients = noisy(model, 1, 0);
  Footprint footprint;
  run_sessions(2, onebit_adam("freeze_step = 1\n"), model, [&](Rank rank) {
    for (int step = 1; step <= 3; ++step) rank.session.step(pointers(gradients));
    if (rank.number == 0) footprint = rank.session.footprint();
  });
  const auto each = [&](uint64_t bytes) { return static_cast<double>(bytes) / 4e6; };
  MESSAGE("held " << each(footprint.held()) << " bytes a parameter; exchange buffers " << each(footprint.exchange_buffers)
                  << ", peak at the freeze " << each(footprint.peak));
  CHECK(each(footprint.held()) <= 10.5);
  CHECK(each(footprint.held()) >= 10.0);  // the reciprocal, both errors and two bits of mean must be somewhere
}

TEST_CASE("with errors and reciprocal in bf16: 5.7 bytes a parameter, 8.8 where steps begin early, and never more than 10.6") {
  Tensors model = {std::vector<float>(4'000'000)};
  const Tensors gradients = noisy(model, 1, 0);
  const std::string halves = "freeze_step = 2\nreciprocal_dtype = \"bf16\"\n";
  for (const bool early : {false, true}) {
    Footprint dense, compressed;
    const std::string tables = "[exchange]\nerror_dtype = \"bf16\"\nbucket_bytes = 100000\n";
    const std::string toml = onebit_adam(halves, tables);
    run_sessions(2, toml, model, [&](Rank rank) {
      for (int step = 1; step <= 5; ++step) {
        if (early) {
          rank.session.begin();
          rank.session.ready(0, gradients[0].data());
          rank.session.step();
        } else {
          rank.session.step(pointers(gradients));
        }
        if (rank.number == 0) (step == 1 ? dense : compressed) = rank.session.footprint();
      }
    });
    const auto each = [&](uint64_t bytes) { return static_cast<double>(bytes) / 4e6; };
    MESSAGE("held " << each(compressed.held()) << " bytes a parameter; peak " << each(compressed.peak));
    CHECK(each(dense.held()) == doctest::Approx(8.0).epsilon(0.002));
    CHECK(each(compressed.held()) <= (early ? 8.8 : 5.7));
    CHECK(each(compressed.held()) >= (early ? 8.2 : 5.2));
    if (!early) CHECK(each(compressed.peak) <= 10.6);
    const Cost cost = cost_of(plugins(), configure(toml), parameters_of(model), 2);
    CHECK(cost.compressed_state == doctest::Approx(early ? 5.28 : each(compressed.held())).epsilon(0.01));
    CHECK(cost.peak_state == doctest::Approx(10).epsilon(0.001));
  }
}

TEST_CASE("what check says a model will cost is what a session then holds and sends") {
  Tensors model = {std::vector<float>(300'000), std::vector<float>(77)};
  CHECK_THROWS_WITH(cost_of(plugins(), configure(onebit_adam("freeze_step = 2\n")), parameters_of(model), 0),
                    "a cost is of at least 1 rank, found 0");
  for (const std::string scale : {"", "scale = \"tensor\"\n"}) {
    const std::string toml = "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 2\n[compressor]\nplugin = \"onebit\"\n" +
                             scale + "[communicator]\nplugin = \"threads\"\n";
    const Cost cost = cost_of(plugins(), configure(toml), parameters_of(model), 3);
    std::vector<Footprint> footprints(3);
    std::vector<Traffic> traffic(3);
    run_sessions(3, toml, model, [&](Rank rank) {
      for (int64_t step = 1; step <= 4; ++step) rank.session.step(pointers(noisy(model, step, rank.number)));
      footprints[static_cast<size_t>(rank.number)] = rank.session.footprint();
      traffic[static_cast<size_t>(rank.number)] = rank.session.traffic();
    });
    uint64_t held = 0, dense = 0, compressed = 0;
    for (size_t r = 0; r < 3; ++r) {
      held = std::max(held, footprints[r].held());
      dense = std::max(dense, traffic[r].dense_bytes / 2);
      compressed = std::max(compressed, traffic[r].compressed_bytes / 2);
    }
    CHECK(cost.parameters == 300'077);
    CHECK(cost.compressed_state == doctest::Approx(static_cast<double>(held) / 300'077.0).epsilon(0.01));
    CHECK(cost.dense_traffic == dense);
    CHECK(cost.compressed_traffic == compressed);
    CHECK(4 * cost.agreement_traffic + 2 * 2 * 40 == traffic[0].agreement_bytes);  // four steps, and two at the start
  }
}
