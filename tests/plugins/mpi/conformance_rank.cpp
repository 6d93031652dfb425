// SPDX-License-Identifier: Apache-2.0
// One rank of the communicator conformance on `mpi`: run it under mpirun. Arguments: the cases to run; none: all. Exit status:
// 0 when this rank found what it expects in every case.
#include "conformance.hpp"
#include "mpi_rank.hpp"

int main(int, char** argv) {
  try {
    onebit::Registry registry;
    onebit::conformance::Rank self = onebit::test::mpi_communicator(registry);
    return onebit::test::run_conformance(self, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
