// SPDX-License-Identifier: Apache-2.0
// `./dev gpu` on a machine of stand-ins: what it makes of what the tools there say. No GPU, no CUDA and no compiler takes part.
#include <doctest/doctest.h>

#include <filesystem>
#include <iostream>
#include <string>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

using onebit::test::Outcome;
using onebit::test::run_shell;
namespace fs = std::filesystem;

namespace {

// A source tree with the scripts alone, a build folder as if all was built, and the tools in a folder of their own.
class Machine {
 public:
  Machine() {
    for (const char* folder : {"bin", "tests/gpu", "build/gpu/bin", "build/gpu/Testing/Temporary", ".deps/data/fortunes"})
      fs::create_directories(folder_ / folder);
    for (const char* script : {"gpu.sh", "machine.sh", "stages.sh"})
      fs::copy_file(fs::path(ONEBIT_SOURCE_DIR) / "tests/gpu" / script, folder_ / "tests/gpu" / script);
    for (const char* name : {"bin/cmake", "bin/ninja", "build/gpu/bin/gpu_test", "build/gpu/bin/onebit_gpu_bench"})
      program(name, "echo $0 $*");
    program("bin/nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'");
    program("bin/nvidia-smi", "echo '9.0, A GPU, 580.1'");
    program("bin/python3", "case $2 in *torch.utils*) echo 2.11.0 CUDA 13.0 headers ;; *) exit 1 ;; esac");
    program("bin/compute-sanitizer", "echo '========= ERROR SUMMARY: 0 errors'");
    tests("Passed", 0);
    command("");
  }

  void program(const std::string& name, const std::string& script) const {
    fs::permissions(folder_.file(name, "#!/bin/bash\n" + script + "\n"), fs::perms::owner_all);
  }
  void tests(const std::string& result, int status) const {
    program("bin/ctest",
            "echo '1/1 Test #7: gpu_test: one case ......" + result + "   0.25 sec'; exit " + std::to_string(status));
  }
  void command(const std::string& availability) const {  // `onebit`
    program("build/gpu/bin/onebit", "if [[ $1 == plugins ]]; then echo 'optimizer adam cuda 0.1.0 /a.so " + availability +
                                        "'; exit; fi; echo rank $RANK of $WORLD_SIZE is host $NCCL_HOSTID; mkdir -p $4; "
                                        "echo '\"steps\": 200,' >$4/summary.json");
  }
  void log_of_tests(const std::string& text) const { folder_.file("build/gpu/Testing/Temporary/LastTest.log", text); }

  Outcome run(const std::string& arguments = "") const {
    const std::string path = folder_.path().string();
    return run_shell("ONEBIT_DEPS= PATH=" + path + "/bin:/usr/bin:/bin bash " + path + "/tests/gpu/gpu.sh " + arguments);
  }
  std::string log(const std::string& name) const { return contents_of(folder_ / ("build/gpu/logs/" + name + ".log")); }

 private:
  ScratchFolder folder_;
};

}  // namespace

TEST_CASE("dev gpu: a row for everything that ran, and two ranks that share a GPU train") {
  const Machine machine;
  const Outcome outcome = machine.run();
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  for (const char* row : {"found     GPU: 9.0, A GPU, 580.1; 1 in all", "passed    build GPU tests",
                          "passed    gpu_test: one case", "passed    memcheck of '1 rank*'", "passed    racecheck of '1 rank*'",
                          "passed    bench", "passed    train", "0 failed"})
    CHECK_SAYS(outcome, row);
  CHECK(machine.log("train").find("rank 0 of 2 is host rank0") != std::string::npos);
  CHECK(machine.log("train-rank1").find("rank 1 of 2 is host rank1") != std::string::npos);
  CHECK(machine.log("configure").find("-DONEBIT_CUDA_ARCHITECTURES=90-real") != std::string::npos);
}

TEST_CASE("dev gpu: a test that fails, dies or takes too long is a row of its own, and the exit status") {
  const Machine machine;
  for (const char* result : {"***Failed", "***Exception: SegFault", "***Timeout", "Subprocess aborted***Exception:"}) {
    machine.tests(result, 8);
    const Outcome outcome = machine.run("tests");
    CAPTURE(result);
    CHECK(outcome.status == 1);
    CHECK_SAYS(outcome, "FAILED    gpu_test: one case");
  }
}

TEST_CASE(
    "dev gpu: a test that finds no device has failed where there is a GPU, and one that lacks something else is skipped") {
  const Machine machine;
  machine.tests("***Skipped", 0);
  machine.log_of_tests("1/1 Testing: gpu_test: one case\nSKIPPED: unavailable: no CUDA device can be used: no driver\n");
  CHECK(machine.run("tests").status == 1);
  machine.log_of_tests("1/1 Testing: gpu_test: one case\nSKIPPED: it needs two\n");
  const Outcome outcome = machine.run("tests");
  CHECK(outcome.status == 0);
  CHECK_SAYS(outcome, "it needs two");
}

TEST_CASE("dev gpu: a sanitizer that complains or that saw nothing, a component that can't be used, a run without results") {
  const Machine machine;
  machine.program("bin/compute-sanitizer", "echo '========= Invalid __global__ write'; exit 99");
  CHECK_SAYS(machine.run("memcheck"), "FAILED    memcheck");
  machine.program("bin/compute-sanitizer", "echo 'Device not supported'");
  CHECK_SAYS(machine.run("racecheck"), "nothing was checked");
  machine.command("(unavailable: the driver is too old)");
  CHECK_SAYS(machine.run("plugins"), "1 unavailable; (unavailable: the driver is too old)");
  machine.program("build/gpu/bin/onebit", "exit 0");
  CHECK_SAYS(machine.run("train"), "FAILED    train");
}

TEST_CASE("dev gpu: without a GPU it builds, runs nothing, and its exit status says so") {
  if (fs::exists("/dev/nvidia0")) {
    std::cout << "SKIPPED: this machine has a GPU\n";
    return;
  }
  const Machine machine;
  machine.program("bin/nvidia-smi", "echo 'NVIDIA-SMI has failed. No driver.'; exit 9");
  const Outcome outcome = machine.run();
  CHECK_MESSAGE(outcome.status == 77, outcome.text);
  for (const char* part : {"passed    build plugins", "SKIPPED   memcheck", "SKIPPED   train", "there is NO GPU here"})
    CHECK_SAYS(outcome, part);
}

TEST_CASE("dev gpu: wrong arguments, and tools that are not there") {
  const Machine machine;
  for (const char* arguments : {"frobnicate", "--limit", "--limit soon"}) CHECK(machine.run(arguments).status == 2);
  machine.program("bin/cmake", "exit 1");
  const Outcome outcome = machine.run();
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, "FAILED    configuring with torch");
  CHECK_SAYS(outcome, "configuring failed: build/gpu/logs/configure.log");
}
