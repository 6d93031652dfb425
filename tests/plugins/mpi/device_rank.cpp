// SPDX-License-Identifier: Apache-2.0
// One rank of a session on the emulated CUDA device over `mpi`, whose bytes are staged through memory of the host: the bits of
// the same session on the CPU over threads. Run it under mpirun on 2 ranks.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <stdexcept>

#include "core/cuda/device_cases.hpp"
#include "core/cuda/device_sessions.hpp"

namespace {

using namespace onebit;
using namespace onebit::test;

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

void compare(const DeviceCase& run) {
  const DeviceOutcome cpu = run_on_cpu(run);
  const Registry& registry = device_plugins();
  const Configuration configuration(registry, Manifest::parse(run.manifest("cuda", "mpi"), "test.toml", "."));
  onebit_rendezvous nobody = {};
  nobody.struct_size = sizeof nobody;
  const TestStream stream;
  DeviceTensors parameters(initial_of(run)), gradients(initial_of(run));
  int rank = 0;
  {
    Session session(registry, configuration, nobody, parameters.parameters());
    rank = session.rank();
    for (int step = 0; step < run.steps; ++step) {
      gradients.set(gradients_of(run, step, rank));
      session.step(gradients.pointers(), stream);
      const StepReport report = session.settle();
      require(rank != 0 || same(report, cpu.reports[static_cast<size_t>(step)]),
              "another report of step " + std::to_string(step));
    }
    session.communicator().barrier(Call());
  }
  require(same(parameters.get(), cpu.parameters[static_cast<size_t>(rank)]), "other parameters than on the CPU");
}

}  // namespace

TEST_CASE("2 ranks") {
  int done = 0;
  for (const DeviceCase& run : device_cases()) {  // the others are device_session_test's, over another communicator
    if (run.name != "onebit_adam, 2 ranks" && run.name != "zeroone_adam, with local steps") continue;
    CAPTURE(run.name);
    compare(run);
    ++done;
  }
  std::printf("%d cases of a device over mpi\n", done);
}
