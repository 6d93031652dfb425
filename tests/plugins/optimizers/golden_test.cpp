// SPDX-License-Identifier: Apache-2.0
// The recorded traces of the reference implementation of 1-bit Adam, 1-bit LAMB and 0/1 Adam, replayed through sessions with
// its formulas switched on.
#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include "support/sessions.hpp"
#include "support/trace.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// Our keys for the case's hyperparameters; `optimizer` is the plugin, `lines` what it takes besides, `scale` the compressor's.
std::string reference_manifest(const std::string& optimizer, const std::string& lines, const std::string& scale,
                               const nlohmann::json& hyper) {
  std::ostringstream table;
  table.precision(17);
  for (const auto& [key, value] : hyper.items()) table << key << " = " << value.dump() << "\n";
  return "[optimizer]\nplugin = \"" + optimizer +
         "\"\nmessage = \"momentum\"\nvariance_floor = 0.0\nbias_correction = false\n" + lines + table.str() +
         "[compressor]\nplugin = \"onebit\"\nscale = \"" + scale + "\"\nnorm = \"l2\"\n[communicator]\nplugin = \"threads\"\n";
}

Tensors initial_parameters(const nlohmann::json& trace) {
  Tensors initial;
  for (size_t k = 0; k < trace["numels"].size(); ++k)
    initial.push_back(trace_parameter(static_cast<int>(k), trace["numels"][k]));
  return initial;
}

// Steps through a trace on all of its ranks; `check` sees each rank after each step t, which counts from 1.
void replay(const nlohmann::json& trace, const std::string& toml,
            const std::function<void(const Rank& rank, int t, const StepReport& report)>& check) {
  const Tensors initial = initial_parameters(trace);
  run_sessions(trace["workers"], toml, initial, [&](Rank rank) {
    rank.session.set_next_step(2);
    for (int t = 1; t <= trace["steps"].get<int>(); ++t) {
      Tensors gradients;
      for (size_t k = 0; k < initial.size(); ++k)
        gradients.push_back(trace_gradient(t, rank.number, static_cast<int>(k), initial[k].size()));
      check(rank, t, rank.session.step(pointers(gradients)));
    }
  });
}

// The largest difference on rank 0, of an algorithm whose steps are dense until freeze_step and compressed after it.
double replay_frozen(const nlohmann::json& trace, const std::string& toml) {
  double worst = 0;
  replay(trace, toml, [&](const Rank& rank, int t, const StepReport& report) {
    if (report.compressed != (t + 1 > trace["hyper"]["freeze_step"].get<int>())) throw std::runtime_error("freeze_step is off");
    if (rank.number == 0)
      worst = std::max(worst, largest_difference(rank.parameters, trace["parameters"][static_cast<size_t>(t - 1)]));
  });
  return worst;
}

}  // namespace

TEST_CASE("every unmasked trace of 1-bit Adam is reproduced within 1e-6 at every step") {
  const nlohmann::json traces = golden("onebit_adam.json")["cases"];
  REQUIRE(traces.size() == 6);
  for (const nlohmann::json& trace : traces) {
    CAPTURE(trace["workers"].get<int>());
    CAPTURE(trace["hyper"].dump());
    CHECK(replay_frozen(trace, reference_manifest("onebit_adam", "", "tensor", trace["hyper"])) < 1e-6);
  }
}

TEST_CASE("every unmasked trace of 1-bit LAMB is reproduced within 1e-6 at every step") {
  const nlohmann::json traces = golden("onebit_lamb.json")["cases"];
  REQUIRE(traces.size() == 6);
  for (const nlohmann::json& trace : traces) {
    CAPTURE(trace["workers"].get<int>());
    CAPTURE(trace["hyper"].dump());
    CHECK(replay_frozen(trace, reference_manifest("onebit_lamb", "trust_ratio = \"frozen\"\n", "bucket", trace["hyper"])) <
          1e-6);
  }
}
