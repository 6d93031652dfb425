// SPDX-License-Identifier: Apache-2.0
// 1-bit LAMB through sessions with the real compressor: how far a step may reach, that it learns, and that exempt
// tensors and skipped steps are as they should be.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/gradients.hpp"
#include "support/sessions.hpp"
#include "towards_one.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

constexpr double rate = 1e-3;

std::string manifest(const std::string& optimizer, const std::string& lines) {
  return "[optimizer]\nplugin = \"" + optimizer + "\"\n" + lines +
         "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
}
std::string onebit_lamb(const std::string& lines) { return manifest("onebit_lamb", lines); }

// How a rank's made-up gradients become those of a test.
using Shape = std::function<void(Tensors& gradients, int64_t step, int rank)>;

// The largest change of any element in a compressed step, in learning rates: 2 ranks, frozen after step 40, then 300 steps.
double reach(const Tensors& initial, const std::string& lines, const Shape& shape) {
  double most = 0;
  run_sessions(2, onebit_lamb("freeze_step = 40\n" + lines), initial, [&](Rank rank) {
    for (int64_t step = 1; step <= 340; ++step) {
      Tensors gradients = noisy(initial, step, rank.number);
      shape(gradients, step, rank.number);
      const Tensors before = rank.parameters;
      rank.session.step(pointers(gradients));
      for (size_t k = 0; rank.number == 0 && step > 40 && k < before.size(); ++k)
        for (size_t i = 0; i < before[k].size(); ++i)
          most = std::max(most, std::fabs(static_cast<double>(rank.parameters[k][i]) - before[k][i]) / rate);
    }
  });
  return most;
}

// Trust ratio and factor are 1, so that a step is the learning rate times the update.
const std::string plain = "max_coeff = 1.0\nmin_coeff = 1.0\nfactor_max = 1.0\nfactor_min = 1.0\n";

void check_reach(const Tensors& initial, const Shape& shape) {
  const double bounded = reach(initial, plain, shape);
  CHECK(bounded <= 10);
  CHECK(bounded > 0.05);
  CHECK(reach(initial, "max_coeff = 1.0\nmin_coeff = 1.0\n", shape) <= 10 * 4.0);  // the factor's largest
}
void check_that_the_papers_form_goes_beyond(const Tensors& initial, const Shape& shape) {
  CHECK(reach(initial, plain + "message = \"momentum\"\nvariance_floor = 0\n", shape) > 10);
}

}  // namespace

TEST_CASE("onebit_lamb, bounded steps: half the tensors with gradients 1000 times smaller") {
  check_reach(noisy_model({600, 600, 600, 600, 32, 32, 32, 32}), [](Tensors& gradients, int64_t, int) {
    for (size_t k = 0; k < gradients.size(); k += 2)
      for (float& g : gradients[k]) g *= 1e-3F;
  });
}

TEST_CASE("onebit_lamb, bounded steps: gradients over six decades inside one block") {
  const Tensors initial = noisy_model({4096});
  const Shape decades = [](Tensors& gradients, int64_t, int) {
    for (size_t i = 0; i < 4096; ++i) gradients[0][i] *= std::pow(10.0F, -6.0F * static_cast<float>(i) / 4096);
  };
  check_reach(initial, decades);
  check_that_the_papers_form_goes_beyond(initial, decades);
}

TEST_CASE("onebit_lamb, bounded steps: elements that are active one per cent of the time") {
  const Tensors initial = noisy_model({5000});
  const Shape rare = [](Tensors& gradients, int64_t step, int rank) {
    for (size_t i = 0; i < 5000; i += 2)
      if (noise(static_cast<uint64_t>(step), 50 + static_cast<uint64_t>(rank), 9, i) < 0.98F) gradients[0][i] = 0;
  };
  check_reach(initial, rare);
}

TEST_CASE("onebit_lamb learns after the freeze, with one rank and with three, in both messages") {
  for (const int ranks : {1, 3})
    for (const std::string message : {"update", "momentum"}) {
      CAPTURE(ranks);
      CAPTURE(message);
      const Tensors initial = noisy_model({300, 4500});
      double frozen = 0;
      const std::vector<Tensors> after = run_sessions(
          ranks, onebit_lamb("freeze_step = 20\nlr = 1e-2\nmessage = \"" + message + "\"\n"), initial, [&](Rank rank) {
            for (int64_t step = 1; step <= 320; ++step) {
              const StepReport report = rank.session.step(pointers(towards_one(rank.parameters, step, rank.number)));
              if (report.compressed != (step > 20)) throw std::runtime_error("freeze_step is off");
              if (step == 20 && rank.number == 0) frozen = distance_to_one(rank.parameters);
            }
          });
      CHECK(distance_to_one(after[0]) < 0.5 * frozen);
      for (const Tensors& replica : after) CHECK(replica == after[0]);
    }
}

TEST_CASE("onebit_lamb: a step with a gradient that is not finite leaves everything as it was") {
  const Tensors initial = noisy_model({300, 4500});
  const auto train = [&](bool poisoned) {
    return run_sessions(2, onebit_lamb("freeze_step = 4\nweight_decay = 0.01\n"), initial, [&](Rank rank) {
      for (int64_t step = 1; step <= 12; ++step) {
        Tensors gradients = noisy(initial, step, rank.number);
        for (const int64_t at : {1, 4, 5, 9}) {  // the first, the last dense, the first compressed, a later one
          if (!poisoned || at != step) continue;
          Tensors bad = gradients;
          if (rank.number == 1) bad[1][17] = std::numeric_limits<float>::infinity();
          const Tensors before = rank.parameters;
          if (!rank.session.step(pointers(bad)).skipped) throw std::runtime_error("not skipped");
          if (rank.parameters != before) throw std::runtime_error("a skipped step moved parameters");
        }
        rank.session.step(pointers(gradients));
      }
    });
  };
  CHECK(train(true) == train(false));
}

TEST_CASE("onebit_lamb: exempt tensors are as with lamb, bit for bit, on every rank and through the freeze") {
  const Tensors initial = noisy_model({300, 9000, 77, 5000});
  const auto train = [&](const std::string& toml) {
    return run_sessions(2, toml, initial, [&](Rank rank) {
      rank.session.set_gradient_scale(0.5);
      for (int64_t step = 1; step <= 30; ++step) rank.session.step(pointers(noisy(initial, step, rank.number)));
    });
  };
  const std::vector<Tensors> dense = train(manifest("lamb", "weight_decay = 0.01\n"));
  for (const std::string message : {"update", "momentum"}) {
    CAPTURE(message);
    const std::vector<Tensors> mixed =
        train(onebit_lamb("freeze_step = 5\nweight_decay = 0.01\ndense = ['t0', 't3']\nmessage = \"" + message + "\"\n"));
    for (size_t rank = 0; rank < 2; ++rank) {
      for (const size_t k : {0, 3}) CHECK(mixed[rank][k] == dense[rank][k]);
      for (const size_t k : {1, 2}) CHECK(mixed[rank][k] != dense[rank][k]);
    }
  }
}
