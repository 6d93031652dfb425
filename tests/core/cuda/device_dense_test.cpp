// SPDX-License-Identifier: Apache-2.0
// Small gradients on the emulated CUDA device: 16-bit dense rounds with a unit a block, what vanishes in them, and norms; the
// bits and the counts of the CPU.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "device_cases.hpp"
#include "device_sessions.hpp"

namespace onebit::test {
namespace {

const Tensors uneven = {std::vector<float>(5001, 0.5F), std::vector<float>(33, 0.25F)};

// Each element another power of ten; the largest in the first place of each tensor.
Tensors spread(float largest, int rank) {
  Tensors gradients = uneven;
  for (auto& tensor : gradients)
    for (size_t i = 0; i < tensor.size(); ++i)
      tensor[i] = largest * std::pow(10.0F, -static_cast<float>(i % 16)) * (rank == 0 ? 1.0F : -0.37F);
  return gradients;
}

double vanished_in(const Registry& registry) {
  for (const MetricSnapshot& metric : registry.metrics().snapshot())
    if (metric.name == "session.vanished_elements") return metric.value;
  return 0;
}

}  // namespace

TEST_CASE("cuda session: gradients of any size in 16 bits, and their norms: the bits of the CPU, and as many that vanish") {
  for (const std::string dtype : {"fp16", "bf16"})
    for (const float largest : {1.0F, 3e15F, 2e-24F, 1e-33F}) {
      CAPTURE(dtype);
      CAPTURE(largest);
      const DeviceCase run = {"", 2,
                              "[optimizer]\nplugin = \"adam\"\neps = 1e-20\n[exchange]\ndense_dtype = \"" + dtype + "\"\n",
                              "clip_norm = 1e16\n"};
      const double before_cpu = vanished_in(plugins()), before_cuda = vanished_in(device_plugins());
      StepReport cpu, cuda;
      const auto expected = run_sessions(2, run.manifest("cpu"), uneven, [&](Rank rank) {
        for (int step = 0; step < 3; ++step) {
          const Tensors gradients = spread(largest, rank.number);
          const StepReport report = rank.session.step(pointers(gradients));
          if (rank.number == 0) cpu = report;
        }
      });
      const auto found = run_device_sessions(2, run.manifest("cuda"), uneven, [&](DeviceRank rank) {
        rank.gradients.set(spread(largest, rank.number));
        for (int step = 0; step < 3; ++step) {
          rank.session.step(rank.gradients.pointers(), rank.stream);
          const StepReport report = rank.session.settle();
          if (rank.number == 0) cuda = report;
        }
      });
      CHECK(expected == found);
      CHECK((expected[0] != uneven) == (largest > 1e-30F));  // less is nothing beside eps
      CHECK(cpu.gradient_norm > 0);
      CHECK(cpu.gradient_norm == cuda.gradient_norm);
      const double vanished = vanished_in(plugins()) - before_cpu;
      CHECK(vanished == vanished_in(device_plugins()) - before_cuda);
      CHECK((vanished > 0) == (dtype == "fp16" || largest < 1e-30F));
    }
}

}  // namespace onebit::test
