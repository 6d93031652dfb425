// The recorded traces of the reference implementation of 1-bit Adam, replayed through sessions with its formulas switched on.
#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

#include "sessions.hpp"
#include "trace.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

std::string manifest(const nlohmann::json& hyper) {
  std::ostringstream optimizer;
  optimizer.precision(17);
  optimizer << std::showpoint << "message = \"momentum\"\nvariance_floor = 0.0\nbias_correction = false\n"
            << "lr = " << hyper["lr"].get<double>() << "\nweight_decay = " << hyper["weight_decay"].get<double>()
            << "\nfreeze_step = " << hyper["freeze_step"].get<int>() << "\n";
  return "[optimizer]\nplugin = \"onebit_adam\"\n" + optimizer.str() +
         "[compressor]\nplugin = \"onebit\"\nscale = \"tensor\"\nnorm = \"l2\"\n[communicator]\nplugin = \"threads\"\n";
}

double largest_difference(const Tensors& found, const nlohmann::json& expected) {
  double largest = 0;
  for (size_t k = 0; k < found.size(); ++k)
    for (size_t i = 0; i < found[k].size(); ++i)
      largest = std::max(largest, std::fabs(static_cast<double>(found[k][i]) - expected[k][i].get<double>()));
  return largest;
}

}  // namespace

TEST_CASE("every unmasked trace of 1-bit Adam is reproduced within 1e-6 at every step") {
  const nlohmann::json traces = golden("onebit_adam.json")["cases"];
  REQUIRE(traces.size() == 6);
  for (const nlohmann::json& trace : traces) {
    const int ranks = trace["workers"];
    CAPTURE(ranks);
    CAPTURE(trace["hyper"].dump());
    Tensors initial;
    for (size_t k = 0; k < trace["numels"].size(); ++k)
      initial.push_back(trace_parameter(static_cast<int>(k), trace["numels"][k]));
    double worst = 0;
    run_sessions(ranks, manifest(trace["hyper"]), initial, [&](Rank rank) {
      rank.session.set_next_step(2);
      for (int t = 1; t <= trace["steps"].get<int>(); ++t) {
        Tensors gradients;
        for (size_t k = 0; k < initial.size(); ++k)
          gradients.push_back(trace_gradient(t, rank.number, static_cast<int>(k), initial[k].size()));
        const StepReport report = rank.session.step(pointers(gradients));
        if (report.compressed != (t + 1 > trace["hyper"]["freeze_step"].get<int>()))
          throw std::runtime_error("freeze_step is off");
        if (rank.number == 0)
          worst = std::max(worst, largest_difference(rank.parameters, trace["parameters"][static_cast<size_t>(t - 1)]));
      }
    });
    CHECK(worst < 1e-6);
  }
}
