// SPDX-License-Identifier: Apache-2.0
// The embedder's communicator, or MPI's world; then a duplicate of it.
#include "meeting.hpp"

#include <chrono>
#include <string>
#include <thread>

#include "onebit/collectives/limits.hpp"
#include "onebit/error.hpp"
#include "process.hpp"

namespace onebit::mpi {
namespace {

// The embedder's, where the rendezvous has one; MPI_COMM_NULL where not.
MPI_Comm given(const Rendezvous& rendezvous) {
  int32_t handle = 0;
  try {
    rendezvous.get("mpi.communicator", &handle, sizeof handle, 1);
  } catch (const Error&) {
    return MPI_COMM_NULL;
  }
  return MPI_Comm_f2c(static_cast<MPI_Fint>(handle));
}

MPI_Comm world(const Rendezvous& rendezvous) {
  int rank = 0, size = 0;
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (rendezvous.size() == 0 || (rendezvous.size() == size && rendezvous.rank() == rank)) return MPI_COMM_WORLD;
  throw Error(Code::invalid_argument, "each rank is a process: this one would be rank " + std::to_string(rendezvous.rank()) +
                                          " of " + std::to_string(rendezvous.size()) + ", but MPI started it as rank " +
                                          std::to_string(rank) + " of " + std::to_string(size) + "; start it with mpirun -n " +
                                          std::to_string(rendezvous.size()));
}

MPI_Comm duplicate(MPI_Comm comm, int64_t timeout_ns) {
  MPI_Comm copy = MPI_COMM_NULL;
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Comm_idup(comm, &copy, &request), "MPI_Comm_idup");
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
  for (int done = 0; done == 0;) {
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) break;
    if (std::chrono::steady_clock::now() >= end) {
      give_up_finalizing();
      throw Error(Code::timeout,
                  "not all ranks came to create it within " + seconds_text(timeout_ns) + " (communicator.timeout)");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return copy;
}

}  // namespace

MPI_Comm meet(const Rendezvous& rendezvous, int64_t timeout_ns) {
  start();
  const MPI_Comm embedder = rendezvous.size() == 0 ? MPI_COMM_NULL : given(rendezvous);
  return duplicate(embedder == MPI_COMM_NULL ? world(rendezvous) : embedder, timeout_ns);
}

}  // namespace onebit::mpi
