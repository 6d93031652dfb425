// SPDX-License-Identifier: Apache-2.0
// Tensors exempt from compression in a session: what a release leaves, what is sent and held, and that nothing else changes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "small_models.hpp"
#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// The built-in plugins and `summing`, an optimizer that says what it may do with exempt tensors.
const Registry& summing_registry() {
  static Registry* const loaded = [] {
    auto* made = new Registry;
    made->load_folder(Registry::default_folder());
    made->load(std::filesystem::path(ONEBIT_BAD_PLUGINS) / "summing.so");
    return made;
  }();
  return *loaded;
}

std::string summing(const std::string& lines, const std::string& tables = "") {
  return "[optimizer]\nplugin = \"summing\"\n" + lines +
         "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n" + tables;
}

Configuration with_summing(const std::string& toml) {
  return Configuration(summing_registry(), Manifest::parse(toml, "test.toml", "."));
}

struct Trained {
  std::vector<Tensors> parameters;
  std::vector<Footprint> footprints;
  std::vector<Traffic> traffic;
};
// gradients(step, rank); tensors are named t0, t1, ...
Trained train(const std::string& toml, int ranks, int steps, const Tensors& model,
              const std::function<Tensors(int, int)>& gradients) {
  const auto count = static_cast<size_t>(ranks);
  Trained trained = {std::vector<Tensors>(count, model), std::vector<Footprint>(count), std::vector<Traffic>(count)};
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    const auto r = static_cast<size_t>(rank);
    Session session(summing_registry(), with_summing(toml), rendezvous.at(rank), parameters_of(trained.parameters[r]));
    for (int step = 1; step <= steps; ++step) session.step(pointers(gradients(step, rank)));
    trained.footprints[r] = session.footprint();
    trained.traffic[r] = session.traffic();
  });
  return trained;
}

// The same on all ranks, and of few bits: the mean of any number of them is exact.
Tensors shared_noise(int step, int /*rank*/) {
  Tensors gradients = noisy(uneven, step, 0);
  for (std::vector<float>& tensor : gradients)
    for (float& value : tensor) value = std::round(value * 1024) / 1024;
  return gradients;
}
Tensors own_noise(int step, int rank) { return noisy(uneven, step, rank); }

// What `summing` makes of an exempt tensor when all ranks have the same gradients.
std::vector<float> summed(size_t tensor, int steps, float lr = 0.125F) {
  std::vector<float> parameter = uneven[tensor], sum(parameter.size());
  for (int step = 1; step <= steps; ++step) {
    const Tensors gradients = shared_noise(step, 0);
    for (size_t i = 0; i < sum.size(); ++i) parameter[i] -= lr * (sum[i] += gradients[tensor][i]);
  }
  return parameter;
}

}  // namespace

TEST_CASE("a release keeps the elements of exempt tensors, on any number of ranks, in any topology") {
  const std::vector<float> first = summed(1, 8), second = summed(3, 8);
  const Tensors others = train(summing(""), 1, 8, uneven, shared_noise).parameters[0];  // of one rank: nothing is compressed
  for (const int ranks : {1, 2, 3, 4})
    for (const char* lines : {"", "whole_tensors = true\n"})
      for (const char* tables :
           {"", "[exchange]\nbucket_bytes = 20000\n", "[exchange]\ndense_below = 50\n[session]\nthreads = 3\n"}) {
        CAPTURE(ranks);
        CAPTURE(lines);
        CAPTURE(tables);
        const Trained trained =
            train(summing(std::string("dense = ['t1', 't3']\n") + lines, tables), ranks, 8, uneven, shared_noise);
        for (const Tensors& replica : trained.parameters) {
          CHECK(replica[1] == first);
          CHECK(replica[3] == second);
          CHECK((replica[0] == others[0]) == (ranks == 1));
        }
      }
  std::string machines = summing("dense = ['t1', 't3']\n", "[exchange]\ntopology = \"hierarchical\"\n");
  machines.replace(machines.find("timeout"), 0, "machines = 2\n");
  for (const Tensors& replica : train(machines, 4, 8, uneven, shared_noise).parameters) {
    CHECK(replica[1] == first);
    CHECK(replica[3] == second);
  }
}

TEST_CASE("exempt tensors change nothing for the others") {
  const Tensors none = train(summing(""), 3, 6, uneven, own_noise).parameters[0];
  const Tensors some = train(summing("dense = ['t1', 't3']\n"), 3, 6, uneven, own_noise).parameters[0];
  CHECK(some[0] == none[0]);
  CHECK(some[4] == none[4]);
  CHECK(some[1] != none[1]);
}

TEST_CASE("a release frees the memory of all other tensors, and the footprint tells what is left") {
  const Tensors large = {std::vector<float>(1'000'000), std::vector<float>(3000)};
  const auto gradients = [&](int step, int) { return noisy(large, step, 0); };
  const auto sum_bytes = [&](const std::string& dense, int steps) {
    const Footprint footprint = train(summing(dense), 2, steps, large, gradients).footprints[0];
    return footprint.state.empty() ? 0 : footprint.state[0].bytes;
  };
  const std::string dense = "dense = ['t1']\n";
  CHECK(sum_bytes(dense, 1) >= 4 * 1'003'000);
  CHECK(sum_bytes(dense, 2) >= 4 * 3000);
  CHECK(sum_bytes(dense, 2) < 4 * 3000 + 4096);
  CHECK(sum_bytes("", 2) == 0);
  CHECK(sum_bytes("dense = ['*']\n", 3) == sum_bytes("dense = ['*']\n", 1));
}

TEST_CASE("in compressed rounds exempt tensors are sent as fp32, the others as bits, and that is what check says") {
  const auto bits = [](int64_t count) { return 4 + (count + 31) / 32 * 4; };  // of a block: a scale, and signs
  const int64_t coded = 2 * bits(4096) + bits(9001 - 2 * 4096) + bits(17), exempt = 4 * (100 + 5000);
  const std::string toml = summing("dense = ['t1', 't3']\n");
  const Trained trained = train(toml, 2, 5, uneven, own_noise);
  for (const Traffic& traffic : trained.traffic) {
    CHECK(traffic.compressed_steps == 3);
    CHECK(traffic.compressed_bytes == 3 * static_cast<uint64_t>(coded + exempt));
  }
  for (const std::string dense : {"", "dense = ['t1', 't3']\n", "dense = ['*']\n"})
    for (const int ranks : {1, 2, 3}) {
      CAPTURE(dense);
      CAPTURE(ranks);
      Tensors shapes = uneven;
      const Cost cost = cost_of(summing_registry(), with_summing(summing(dense)), parameters_of(shapes), ranks);
      const Trained run = train(summing(dense), ranks, 4, uneven, own_noise);
      uint64_t held = 0, compressed = 0;
      for (const Footprint& footprint : run.footprints) held = std::max(held, footprint.held());
      for (const Traffic& traffic : run.traffic) compressed = std::max(compressed, traffic.compressed_bytes / 2);
      const bool all_exempt = dense.find('*') != std::string::npos;  // then those rounds are dense ones, of the same size
      if (all_exempt && ranks > 1) compressed = cost.dense_traffic;
      CHECK(cost.compressed_traffic == compressed);
      CHECK(cost.compressed_state * static_cast<double>(cost.parameters) ==
            doctest::Approx(static_cast<double>(held)).epsilon(0.01));
      const Footprint before = train(summing(dense), ranks, 1, uneven, own_noise).footprints[0];
      CHECK(cost.dense_state * static_cast<double>(cost.parameters) ==
            doctest::Approx(static_cast<double>(before.held())).epsilon(0.01));
    }
}
