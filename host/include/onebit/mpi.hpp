// SPDX-License-Identifier: Apache-2.0
// For trainers that use MPI themselves: a Session whose ranks are those of an MPI communicator of theirs. Header only; needs
// MPI, and a manifest with communicator.plugin = "mpi".
//
//   MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
//   onebit::MpiRendezvous rendezvous(comm);
//   onebit::Session session(registry, configuration, rendezvous.view(), parameters);
#pragma once

#include <mpi.h>

#include "onebit/mpi_ranks.hpp"

namespace onebit {

class MpiRendezvous {
 public:
  // Collective. comm stays the caller's, must outlive the creation of the session, and is used for nothing but being
  // duplicated.
  explicit MpiRendezvous(MPI_Comm comm) : MpiRendezvous(comm, machine_of(comm)) {}

  const onebit_rendezvous& view() const { return ranks_.view(); }

 private:
  // The ranks of this machine.
  static MPI_Comm machine_of(MPI_Comm comm) {
    MPI_Comm machine = MPI_COMM_NULL;
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    return machine;
  }
  static int asked(int (*question)(MPI_Comm, int*), MPI_Comm comm) {
    int answer = 0;
    question(comm, &answer);
    return answer;
  }
  MpiRendezvous(MPI_Comm comm, MPI_Comm machine)
      : ranks_(static_cast<int32_t>(MPI_Comm_c2f(comm)), asked(MPI_Comm_rank, comm), asked(MPI_Comm_size, comm),
               asked(MPI_Comm_rank, machine), asked(MPI_Comm_size, machine)) {
    MPI_Comm_free(&machine);
  }

  MpiRanks ranks_;
};

}  // namespace onebit
