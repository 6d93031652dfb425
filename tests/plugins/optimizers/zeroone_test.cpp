// SPDX-License-Identifier: Apache-2.0
// The recorded traces of the reference implementation of 0/1 Adam, replayed through sessions with its formulas switched on.
#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include "support/sessions.hpp"
#include "support/trace.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// The reference freezes one step later than it is told.
std::string zeroone_reference_manifest(const nlohmann::json& hyper) {
  std::ostringstream toml;
  toml.precision(17);
  toml << std::showpoint << "[optimizer]\nplugin = \"zeroone_adam\"\nvariance_stage = \"gradient\"\nmessage = \"momentum\"\n"
       << "beta2_per = \"update\"\n"
       << "variance_floor = 0.0\nbias_correction = false\nlr = " << hyper["lr"].get<double>() << "\n";
  for (const char* key : {"var_freeze_step", "var_update_scaler", "local_step_scaler", "local_step_clipper"})
    toml << key << " = " << hyper[key].get<int>() + (std::string(key) == "var_freeze_step" ? 1 : 0) << "\n";
  return toml.str() +
         "[compressor]\nplugin = \"onebit\"\nscale = \"tensor\"\nnorm = \"l2\"\n[communicator]\nplugin = \"threads\"\n";
}

}  // namespace

TEST_CASE("every unmasked trace of 0/1 Adam is reproduced within 1e-6 at every step and on every rank") {
  const nlohmann::json traces = golden("zeroone_adam.json")["cases"];
  REQUIRE(traces.size() == 2);
  for (const nlohmann::json& trace : traces) {
    const int ranks = trace["workers"], steps = trace["steps"];
    CAPTURE(ranks);
    Tensors initial;
    for (size_t k = 0; k < trace["numels"].size(); ++k)
      initial.push_back(trace_parameter(static_cast<int>(k), trace["numels"][k]));
    std::vector<double> worst(static_cast<size_t>(ranks));
    std::vector<int> local(static_cast<size_t>(ranks));
    run_sessions(ranks, zeroone_reference_manifest(trace["hyper"]), initial, [&](Rank rank) {
      const auto number = static_cast<size_t>(rank.number);
      rank.session.set_next_step(2);
      for (int t = 1; t <= steps; ++t) {
        Tensors gradients;
        for (size_t k = 0; k < initial.size(); ++k)
          gradients.push_back(trace_gradient(t, rank.number, static_cast<int>(k), initial[k].size()));
        local[number] += rank.session.step(pointers(gradients)).local ? 1 : 0;
        worst[number] = std::max(worst[number],
                                 largest_difference(rank.parameters, trace["parameters"][static_cast<size_t>(t - 1)][number]));
      }
    });
    for (size_t r = 0; r < worst.size(); ++r) {
      CHECK(worst[r] < 1e-6);
      CHECK(local[r] > 5);  // the traces do have local steps
    }
  }
}
