// SPDX-License-Identifier: Apache-2.0
// One rank of a case on a GPU: a process that finds in its environment which case, which rank and where the others are, as
// torchrun's processes do. All ranks share one GPU. It knows what the CPU makes of the case, and wants the same bits.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <stdexcept>

#include "core/cuda/device_cases.hpp"
#include "core/cuda/device_sessions.hpp"
#include "onebit/rendezvous.hpp"

namespace onebit::test {
namespace {

DeviceCase chosen() {
  const char* name = std::getenv("ONEBIT_GPU_CASE");
  for (const std::vector<DeviceCase>& cases : {device_cases(), early_cases()})
    for (const DeviceCase& run : cases)
      if (name != nullptr && run.name == name) return run;
  throw std::runtime_error("ONEBIT_GPU_CASE names no case: gpu_test starts this program");
}

void compare(const DeviceCase& run, const LaunchedRank& self) {
  const DeviceOutcome cpu = run_on_cpu(run);
  const TcpRendezvous rendezvous(self);
  const Registry& registry = plugins();
  const Configuration configuration(registry, Manifest::parse(run.manifest("cuda"), "test.toml", "."));
  const TestStream stream;
  DeviceTensors parameters(initial_of(run)), gradients(initial_of(run));
  {
    Session session(registry, configuration, rendezvous.view(), parameters.parameters());
    for (int step = 0; step < run.steps; ++step) {
      gradients.set(gradients_of(run, step, self.rank));
      if (run.is_early) {
        const std::vector<const float*> given = gradients.pointers();
        session.begin(stream);
        for (size_t t = given.size(); t-- > 0;) session.ready(t, given[t]);
        session.step();
      } else {
        session.step(gradients.pointers(), stream);
      }
      CHECK(same(session.settle(), cpu.reports[static_cast<size_t>(step)]));
    }
    session.communicator().barrier(Call());
  }
  CHECK(same(parameters.get(), cpu.parameters[static_cast<size_t>(self.rank)]));
  CHECK(parameters.intact());
}

}  // namespace

TEST_CASE("one rank") {
  const std::optional<LaunchedRank> self = launched_rank_from_environment();
  REQUIRE(self.has_value());
  compare(chosen(), *self);
}

}  // namespace onebit::test
