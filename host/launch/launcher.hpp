// SPDX-License-Identifier: Apache-2.0
// What started this process: a launcher such as mpirun, which started others as well, or a person.
#pragma once

#include <optional>
#include <string>

namespace onebit::host {

struct Launched {
  std::string by;    // "mpirun"
  std::string said;  // in its own words: "OMPI_COMM_WORLD_RANK=1, OMPI_COMM_WORLD_SIZE=4"
  int rank = 0;
  int size = 0;      // processes that it started; 0: it does not say
  int local = 0;     // among those of this machine; the rank, where it does not say
  bool mpi = false;  // they find each other through MPI; else at the address that the environment tells

  // It certainly started more than this process. A launcher that started one says little: it may have started the shell in
  // which somebody now types.
  bool of_many() const { return size > 1 || rank > 0; }
};

// As the launcher's environment tells it, which is there before any communicator; none where there was no launcher. Of several
// the one that started many, and then the innermost. Variables that make no sense are passed over.
std::optional<Launched> launched();
// The same, of launchers alone whose processes find each other through MPI.
std::optional<Launched> launched_by_mpi();
// Throws Error(invalid_argument) where a launcher's variables make no sense, or contradict RANK and WORLD_SIZE. What else does
// not fit together is told on stderr, once a run.
void check_launchers();

// A launcher has told the local rank on the command line: LOCAL_RANK, where it is not set. Throws Error(invalid_argument) where
// it says another. Before there are threads.
void note_local_rank(int local_rank);

// What goes before the words of this process where others speak as well: "[rank 2 of 4] "; else "".
std::string speaker();

}  // namespace onebit::host
