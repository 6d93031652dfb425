// SPDX-License-Identifier: Apache-2.0
// The communicator `nccl` on a GPU, with the NCCL of this machine: several ranks, each a process, on one device. What the cases
// expect of all_reduce are the bits of the threads communicator.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <random>

#include "support/running.hpp"

using onebit::test::Outcome;
using onebit::test::run_shell;

namespace {

const std::string kProgram = ONEBIT_BINARY_DIR "/bin/nccl_conformance_rank";

// NCCL refuses two ranks on a device, unless they are of different hosts by name, or, since 2.28, are allowed to be there.
std::string script(int ranks) {
  std::random_device random;
  const std::string place = std::to_string(20'000 + random() % 10'000) + " test" + std::to_string(::getpid());
  std::string text = "export NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1 NCCL_MULTI_RANK_GPU_ENABLE=1\n";
  for (int rank = 0; rank < ranks; ++rank) {
    const std::string r = std::to_string(rank);
    text += "NCCL_HOSTID=host" + r + " timeout 240 " + kProgram + ' ' + r + ' ' + std::to_string(ranks) + ' ' + place + " & p" +
            r + "=$!\n";
  }
  text += "status=0\n";
  for (int rank = 0; rank < ranks; ++rank) text += "wait $p" + std::to_string(rank) + " || status=$?\n";
  return text + "exit $status\n";
}

void check_conformance(int ranks) {
  const Outcome outcome = run_shell(script(ranks));
  if (outcome.status == 77) {
    std::printf("SKIPPED: %s", outcome.text.c_str());
    return;
  }
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "28 cases on " + std::to_string(ranks) + " ranks");
}

}  // namespace

TEST_CASE("nccl on a GPU conforms: 1 rank") { check_conformance(1); }
TEST_CASE("nccl on a GPU conforms: 2 ranks") { check_conformance(2); }
TEST_CASE("nccl on a GPU conforms: 4 ranks") { check_conformance(4); }
