// SPDX-License-Identifier: Apache-2.0
// One rank of the communicator conformance on `nccl`, a process on the current CUDA device; nccl_conformance_test.cpp starts
// them. Arguments: rank, ranks, the first of the ports to meet at, a name that the ranks have in common; then the cases to run;
// none: all. Exit status: 0 when this rank found what it expects in every case; 77 when there is no GPU or no NCCL.
#include <cstdio>
#include <cstdlib>

#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"
#include "plugins/mpi/conformance.hpp"
#include "support/device_rank.hpp"

namespace {

constexpr int kArguments = 5;  // with the program's name
constexpr int kUnavailable = 77;

onebit::LaunchedRank self_of(char** argv) {
  onebit::LaunchedRank self;
  self.rank = std::atoi(argv[1]);
  self.size = std::atoi(argv[2]);
  self.host = "127.0.0.1";
  self.port = static_cast<uint16_t>(std::atoi(argv[3]));
  self.ports = 8;
  self.job = argv[4];
  return self;
}

int run(char** argv) {
  onebit::Registry registry;
  const auto& plugin = registry.load(onebit::Registry::default_folder() / "onebit_plugin_nccl.so");
  if (!plugin.unavailable.empty()) {
    std::printf("unavailable: %s\n", plugin.unavailable.c_str());
    return kUnavailable;
  }
  const onebit::ComponentInfo& nccl = registry.find(onebit::Kind::communicator, "nccl", ONEBIT_DEVICE_CUDA);
  const auto manifest = onebit::Manifest::parse("[communicator]\nplugin = \"nccl\"\ntimeout = 60", "test.toml", ".");
  const onebit::TcpRendezvous rendezvous(self_of(argv));
  onebit::conformance::Rank self = std::make_unique<onebit::test::DeviceRank>(
      registry.make_communicator(nccl, onebit::ResolvedTable(manifest, "communicator", nccl.options, true), rendezvous.view()));
  return onebit::test::run_conformance(self, argv + kArguments - 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < kArguments) return std::fprintf(stderr, "usage: %s RANK RANKS PORT JOB [CASE...]\n", argv[0]), 2;
  try {
    return run(argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rank %s: %s\n", argv[1], e.what());
    return 1;
  }
}
