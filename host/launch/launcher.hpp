// SPDX-License-Identifier: Apache-2.0
// What started this process: a launcher such as mpirun, which started others as well, or a person.
#pragma once

#include <optional>
#include <string>

namespace onebit::host {

struct Launched {
  std::string by;  // "mpirun"
  int rank = 0;
  int size = 0;      // processes that it started; 0: it does not say
  int local = 0;     // among those of this machine; the rank, where it does not say
  bool mpi = false;  // they find each other through MPI; else at the address that the environment tells
};

// As the launcher's environment tells it, which is there before any communicator; none where there was no launcher.
std::optional<Launched> launched();
// The same, of launchers alone whose processes find each other through MPI.
std::optional<Launched> launched_by_mpi();

// What goes before the words of this process where others speak as well: "[rank 2 of 4] "; else "".
std::string speaker();

}  // namespace onebit::host
