// SPDX-License-Identifier: Apache-2.0
// Tensors without a gradient where tensors are in device memory: the host does not know in a step what other ranks have, and
// yet the bits are those of the CPU.
#include <doctest/doctest.h>

#include <algorithm>
#include <stdexcept>

#include "device_cases.hpp"
#include "device_sessions.hpp"

namespace onebit::test {
namespace {

// Tensor 1: no rank in some steps, rank 0 alone in others; tensor 2: never; tensor 3: the last rank alone, and sometimes
// nobody; in step 11 no tensor at all.
bool gives(int64_t step, int rank, size_t tensor) {
  if (step == 11 || tensor == 2) return false;
  if (tensor == 1) return step % 4 < 2 || (step % 4 == 2 && rank == 0);
  if (tensor == 3) return rank != 0 && step % 3 != 0;
  return true;
}
std::vector<const float*> given(std::vector<const float*> gradients, int64_t step, int rank) {
  for (size_t t = 0; t < gradients.size(); ++t)
    if (!gives(step, rank, t)) gradients[t] = nullptr;
  return gradients;
}

DeviceOutcome absent_on_cpu(const DeviceCase& run) {
  DeviceOutcome outcome;
  outcome.parameters = run_sessions(run.ranks, run.manifest("cpu"), initial_of(run), [&](Rank rank) {
    for (int step = 0; step < run.steps; ++step) {
      const Tensors gradients = gradients_of(run, step, rank.number);
      const StepReport report = rank.session.step(given(pointers(gradients), step, rank.number));
      if (rank.number == 0) outcome.reports.push_back(report);
    }
  });
  return outcome;
}
DeviceOutcome absent_on_device(const DeviceCase& run) {
  DeviceOutcome outcome;
  outcome.parameters = run_device_sessions(run.ranks, run.manifest("cuda"), initial_of(run), [&](DeviceRank rank) {
    for (int step = 0; step < run.steps; ++step) {
      rank.gradients.set(gradients_of(run, step, rank.number));
      rank.session.step(given(rank.gradients.pointers(), step, rank.number), rank.stream);
      const StepReport report = rank.session.settle();
      if (rank.number == 0) outcome.reports.push_back(report);
    }
    if (!rank.parameters.intact()) throw std::runtime_error("written beyond a tensor");
  });
  return outcome;
}

}  // namespace

TEST_CASE("cuda session: the bits of the CPU, where tensors have no gradient") {
  for (DeviceCase run : device_cases()) {
#ifdef ONEBIT_SANITIZED  // four ranks take the same paths
    if (run.ranks > 2) continue;
#endif
    run.steps = std::max(run.steps, 16);
    CAPTURE(run.name);
    const DeviceOutcome cpu = absent_on_cpu(run), cuda = absent_on_device(run);
    REQUIRE(cpu.reports.size() == cuda.reports.size());
    for (size_t step = 0; step < cpu.reports.size(); ++step) {
      CAPTURE(step);
      CHECK(same(cpu.reports[step], cuda.reports[step]));
      CHECK(cpu.reports[step].absent == cuda.reports[step].absent);
      CHECK(cuda.reports[step].absent > 0);
    }
    for (size_t rank = 0; rank < cpu.parameters.size(); ++rank) {
      CHECK(same(cpu.parameters[rank], cuda.parameters[rank]));
      CHECK(cuda.parameters[rank][2] == initial_of(run)[2]);
    }
  }
}

TEST_CASE("cuda session: ranks that set different learning rates are told so when the step is settled") {
  const std::string toml = DeviceCase{"", 2, "[optimizer]\nplugin = \"adam\"\nlr = 0.5\n", ""}.manifest("cuda");
  std::vector<std::string> told(2);
  CHECK_THROWS(run_device_sessions(2, toml, random_tensors(5, 0.5F), [&](DeviceRank rank) {
    try {
      if (rank.number == 1) rank.session.set_learning_rate_factor(0.5);
      rank.session.step(rank.gradients.pointers(), rank.stream);
      rank.session.set_learning_rate_factor(1);  // for the next
      rank.session.settle();
    } catch (const Error& e) {
      told[static_cast<size_t>(rank.number)] = e.what();
      throw;
    }
  }));
  for (const std::string& text : told) CHECK(text.find("the learning rate is 0.25, rank 0 has 0.5") != std::string::npos);
}

}  // namespace onebit::test
