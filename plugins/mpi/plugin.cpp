// SPDX-License-Identifier: Apache-2.0
// The plugin `mpi`: the communicator of ranks that are processes, started by mpirun or by an MPI program.
#include "onebit/plugin.hpp"

#include "communicator.hpp"

ONEBIT_PLUGIN("mpi", "1.0.0", onebit::component<onebit::mpi::MpiCommunicator>("mpi"))
