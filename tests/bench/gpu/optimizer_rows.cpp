// SPDX-License-Identifier: Apache-2.0
// Passes of optimizers, tile by tile.
#include <memory>

#include "bench.hpp"
#include "passes.hpp"

namespace onebit::gpu_bench {
namespace {

struct Stage {
  const char *optimizer, *options;
  int steps;      // that come before it
  double memory;  // bytes an element, the model's own included
};
constexpr Stage compressed = {"onebit_adam", "freeze_step = 1\nrefresh = 0\n", 2, 25};
constexpr Stage freeze = {"onebit_adam", "freeze_step = 1\nrefresh = 0\n", 0, 25};
constexpr Stage adam = {"adam", "", 1, 25};
constexpr Stage lamb = {"lamb", "", 1, 25};

class Rows {
 public:
  explicit Rows(Bench& bench) : bench_(bench) {}

  void add(const Stage& stage, double (Passes::*pass)(), const char* what, double bytes, const char* terms, double goal,
           Calls calls = Calls::by_tile) {
    Bench& bench = bench_;
    bench.add({what, bytes, terms, goal, stage.memory}, [&bench, stage, pass, calls](int64_t elements) -> Work {
      auto passes = std::make_shared<Passes>(bench, elements, stage.optimizer, stage.options, calls, stage.steps);
      return [passes, pass] { return ((*passes).*pass)(); };
    });
  }

 private:
  Bench& bench_;
};

// Partial sums are one double a block: what combining costs is no matter of bandwidth, but of time.
constexpr double sum = 8.0 / 4096;

}  // namespace

void add_optimizer_rows(Bench& bench) {
  Rows rows(bench);
  const char* const produced = "gradient 4, reciprocal 4, previous mean 4, message 4";
  const char* const consumed = "mean 4, parameter 4+4";
  const char* const dense = "mean 4, momentum 4+4, variance 4+4, parameter 4+4";
  rows.add(compressed, &Passes::open, "scan and agreement", 4, "gradient 4", 0);
  rows.add(compressed, &Passes::produce, "1-bit Adam: produce", 16, produced, 0.85);
  rows.add(compressed, &Passes::consume, "1-bit Adam: consume", 12, consumed, 0.85);
  rows.add(compressed, &Passes::produce, "  produce, in one launch", 16, produced, 0.85, Calls::at_once);
  rows.add(compressed, &Passes::consume, "  consume, in one launch", 12, consumed, 0.85, Calls::at_once);
  rows.add(compressed, &Passes::produce, "  produce, as in a step", 8,
           "gradient 4, reciprocal 4; in cache: previous mean, message", 0, Calls::by_tile_in_cache);
  rows.add(compressed, &Passes::consume, "  consume, as in a step", 8, "parameter 4+4; in cache: mean", 0,
           Calls::by_tile_in_cache);
  rows.add(compressed, &Passes::combine, "  combine", sum, "counters", 0);
  rows.add(freeze, &Passes::consume, "  the freeze step: consume", 28, dense, 0);
  rows.add(freeze, &Passes::combine, "  the freeze step: combine", 2 * sum, "two sums a block", 0);
  rows.add(freeze, &Passes::apply, "  the freeze step: apply", 8, "variance 4, reciprocal 4", 0);
  rows.add(adam, &Passes::consume, "Adam: consume", 28, dense, 0.85);
  rows.add(lamb, &Passes::consume, "LAMB: consume", 24, "mean 4, momentum 4+4, variance 4+4, parameter 4", 0.85);
  rows.add(lamb, &Passes::combine, "LAMB: combine", 2 * sum, "two sums a block", 0);
  rows.add(lamb, &Passes::apply, "LAMB: apply", 16, "momentum 4, variance 4, parameter 4+4", 0.85);
}

}  // namespace onebit::gpu_bench
