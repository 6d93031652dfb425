// SPDX-License-Identifier: Apache-2.0
// All plugins of ours pass the conformance suites, through the runner, with the options that matter.
#include <doctest/doctest.h>

#include <cstdio>

#include "support/conformance.hpp"
#include "support/mpirun.hpp"

namespace onebit::test {
namespace {

void check(const std::string& library, const std::string& toml = "") {
  Registry registry;
  const PluginInfo& plugin = registry.load(Registry::default_folder() / (library + ".so"));
  for (const ConformanceResult& result : run_conformance(registry, plugin, Manifest::parse(toml, "test.toml", "."))) {
    CAPTURE(result.component);
    CAPTURE(result.name);
    CHECK_MESSAGE(!result.failed, result.text);
    std::printf("%-28s %-32s %.3f s %s\n", result.component.c_str(), result.name.c_str(), result.seconds, result.text.c_str());
  }
}

}  // namespace

TEST_CASE("adam conforms") { check("onebit_plugin_adam"); }
TEST_CASE("lamb conforms") { check("onebit_plugin_lamb"); }
TEST_CASE("onebit_adam conforms") { check("onebit_plugin_onebit_adam"); }
TEST_CASE("onebit_lamb conforms") { check("onebit_plugin_onebit_lamb"); }
TEST_CASE("zeroone_adam conforms") { check("onebit_plugin_zeroone_adam"); }
TEST_CASE("zeroone_adam conforms, with local steps") {
  check("onebit_plugin_zeroone_adam",
        "[optimizer]\nvar_freeze_step = 20\nvar_update_scaler = 2\nlocal_step_scaler = 10\nlocal_step_clipper = 8");
}
TEST_CASE("onebit conforms, in all its options") {
  for (const std::string scale : {"block", "tensor", "bucket"})
    for (const std::string norm : {"l2", "l1"})
      for (const std::string block : {"32", "4096", "65536"})
        check("onebit_plugin_onebit", "[compressor]\nscale = \"" + scale + "\"\nnorm = \"" + norm + "\"\nblock = " + block);
}
TEST_CASE("threads conforms") { check("onebit_plugin_threads"); }

// Started by the test below, as ranks of a job.
TEST_CASE("one rank of mpi" * doctest::skip()) { check("onebit_plugin_mpi"); }
TEST_CASE("mpi conforms, under its launcher") {
  if (!can_mpirun()) return;
  const Outcome outcome = mpirun_program(3, "sdk_conformance_test --no-skip --test-case='one rank of mpi'");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "destroyed_peer");
}

}  // namespace onebit::test
